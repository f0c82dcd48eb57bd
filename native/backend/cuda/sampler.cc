// Launches in groups, so that the adjusted copies of rows stay within a bound.
#include "backend/cuda/sampler.h"

#include <algorithm>

#include "core/philox.h"

namespace vitrine::cuda {
namespace {

constexpr size_t kMostAdjustedBytes = size_t{64} << 20;

size_t adjusted_row_bytes(int64_t vocab) { return static_cast<size_t>(vocab) * (sizeof(float) + sizeof(int32_t)); }

/// Of one launch.
int32_t most_adjusted_rows(int64_t vocab) {
  return static_cast<int32_t>(std::max<size_t>(1, kMostAdjustedBytes / adjusted_row_bytes(vocab)));
}

bool is_adjusted(const VitrineSampleRequest& request) {
  const bool penalty =
      request.history_count > 0 &&
      (request.repetition_penalty != 1.0f || request.frequency_penalty != 0.0f || request.presence_penalty != 0.0f);
  return penalty || request.bias_count > 0;
}

void check_status(int32_t status, int32_t row) {
  switch (status) {
    case kSampled: return;
    case kNonFiniteLogits:
      fail(VITRINE_CUDA_ERROR, "non-finite logits in row ", row, ": the model's output overflowed or is not a number");
    case kAllSuppressed: fail(VITRINE_CUDA_ERROR, "every token of row ", row, " is suppressed by its logit bias");
    default: fail(VITRINE_CUDA_ERROR, "non-finite logits in row ", row, " after penalties and logit bias");
  }
}

void check_vocab(const VitrineTensor& logits) {
  require(logits.cols > 0 && logits.cols <= kMostVocab, "sampling on the GPU: expected 1 to ", kMostVocab,
          " logits a row, got ", logits.cols);
}

template <class T>
const T* upload(StepInputs& inputs, const std::vector<T>& values) {
  return static_cast<const T*>(inputs.upload(values.data(), values.size() * sizeof(T)));
}

/// Where a sampled token goes.
struct TokenPlace {
  int32_t row;
  int32_t* token;
};

}  // namespace

void Sampler::plan(std::span<const VitrineSampleRequest> samples, std::span<const VitrineLogprobRequest> logprobs) {
  samples_ = {};
  logprobs_ = {};
  if (!samples.empty()) plan_samples(samples);
  if (!logprobs.empty()) plan_logprobs(logprobs);
}

void Sampler::plan_samples(std::span<const VitrineSampleRequest> samples) {
  rows_.clear();
  words_.clear();
  bias_values_.clear();
  int32_t adjusted = 0;
  for (const VitrineSampleRequest& from : samples) {
    SampleRow to{};
    to.uniform = uniform(from.seed, static_cast<uint32_t>(from.position));
    to.device_token = from.device_token;
    to.temperature = from.temperature;
    to.top_p = from.top_p;
    to.min_p = from.min_p;
    to.frequency_penalty = from.frequency_penalty;
    to.presence_penalty = from.presence_penalty;
    to.repetition_penalty = from.repetition_penalty;
    to.row = from.row;
    to.top_k = from.top_k;
    to.adjusted = -1;
    if (is_adjusted(from)) {
      to.adjusted = adjusted++;
      to.history_first = static_cast<int32_t>(words_.size());
      to.history_count = from.history_count;
      words_.insert(words_.end(), from.history, from.history + from.history_count);
      to.bias_first = static_cast<int32_t>(bias_values_.size());
      to.bias_count = from.bias_count;
      bias_values_.insert(bias_values_.end(), from.bias_values, from.bias_values + from.bias_count);
    }
    rows_.push_back(to);
  }
  const size_t first_bias = words_.size();
  for (size_t i = 0; i < samples.size(); ++i) {
    if (rows_[i].adjusted >= 0) {
      words_.insert(words_.end(), samples[i].bias_ids, samples[i].bias_ids + samples[i].bias_count);
    }
  }
  samples_.rows = upload(inputs_, rows_);
  samples_.history = upload(inputs_, words_);
  samples_.bias_ids = samples_.history + first_bias;
  samples_.bias_values = upload(inputs_, bias_values_);

  std::vector<TokenPlace> places;
  for (const VitrineSampleRequest& request : samples) places.push_back({request.row, request.token});
  const auto read = [places = std::move(places)](const char* host) {
    const auto* results = reinterpret_cast<const SampleResult*>(host);
    for (size_t i = 0; i < places.size(); ++i) {
      check_status(results[i].status, places[i].row);
      *places[i].token = results[i].token;
    }
  };
  samples_.results = static_cast<SampleResult*>(results_.reserve(samples.size() * sizeof(SampleResult), read));
}

void Sampler::sample(const VitrineTensor& logits, size_t first, size_t count, cudaStream_t stream) {
  require(first + count <= rows_.size(), "sample: ", first + count, " samples of ", rows_.size(), " planned ones");
  check_vocab(logits);
  const size_t row_bytes = adjusted_row_bytes(logits.cols);
  const int32_t most_adjusted = most_adjusted_rows(logits.cols);
  for (const size_t end = first + count; first < end;) {
    SampleBatch group = samples_;
    group.rows = samples_.rows + first;
    group.results = samples_.results + first;
    int32_t adjusted = 0;
    size_t next = first;
    for (; next < end; ++next) {
      if (rows_[next].adjusted < 0) continue;
      if (adjusted == most_adjusted) break;
      if (adjusted++ == 0) group.first_adjusted = rows_[next].adjusted;
    }
    if (adjusted > 0) {
      group.adjusted = static_cast<float*>(adjusted_.reserve(static_cast<size_t>(adjusted) * row_bytes));
      group.adjusted_counts = reinterpret_cast<int32_t*>(group.adjusted + adjusted * logits.cols);
    }
    group.count = static_cast<int32_t>(next - first);
    cuda::sample(logits, group, stream);
    first = next;
  }
}

void Sampler::reserve(int64_t max_requests, int64_t vocab_size) {
  const int64_t rows = std::min<int64_t>(max_requests, most_adjusted_rows(vocab_size));
  adjusted_.reserve(static_cast<size_t>(rows) * adjusted_row_bytes(vocab_size));
}

void Sampler::plan_logprobs(std::span<const VitrineLogprobRequest> requests) {
  logprob_rows_.clear();
  words_.clear();
  int32_t tops = 0;
  int32_t watched = 0;
  const int32_t* list = nullptr;  // all rows of a request watch the same one
  for (const VitrineLogprobRequest& request : requests) {
    if (request.watch_count > 0 && request.watch_ids != list) {
      list = request.watch_ids;
      words_.insert(words_.end(), list, list + request.watch_count);
    }
    logprob_rows_.push_back({request.row, request.target, tops, request.top_count, watched, request.watch_count,
                             static_cast<int32_t>(words_.size()) - request.watch_count});
    tops += request.top_count;
    watched += request.watch_count;
  }
  const size_t count = requests.size();
  const auto top_total = static_cast<size_t>(tops);
  const size_t total = 2 * count + 2 * top_total + static_cast<size_t>(watched);  // words, in the order of the struct
  logprobs_.rows = upload(inputs_, logprob_rows_);
  logprobs_.watch_ids = upload(inputs_, words_);

  const auto read = [count, top_total, rows = logprob_rows_,
                     requests = std::vector(requests.begin(), requests.end())](const char* host) {
    const auto* words = reinterpret_cast<const int32_t*>(host);
    const auto* floats = reinterpret_cast<const float*>(host);
    for (size_t i = 0; i < count; ++i) {
      const VitrineLogprobRequest& request = requests[i];
      const LogprobRow& row = rows[i];
      check_status(words[i], request.row);
      if (request.target_logprob != nullptr) *request.target_logprob = floats[count + i];
      std::copy_n(words + 2 * count + row.top_first, row.top_count, request.top_ids);
      std::copy_n(floats + 2 * count + top_total + row.top_first, row.top_count, request.top_logprobs);
      std::copy_n(floats + 2 * count + 2 * top_total + row.watch_first, row.watch_count, request.watch_logprobs);
    }
  };
  auto* out = static_cast<int32_t*>(results_.reserve(total * sizeof(int32_t), read));
  logprobs_.statuses = out;
  logprobs_.target_logprobs = reinterpret_cast<float*>(out + count);
  logprobs_.top_ids = out + 2 * count;
  logprobs_.top_logprobs = reinterpret_cast<float*>(out + 2 * count + top_total);
  logprobs_.watch_logprobs = reinterpret_cast<float*>(out + 2 * count + 2 * top_total);
  logprobs_.sampled = samples_.results;
}

void Sampler::logprobs(const VitrineTensor& logits, size_t first, size_t count, cudaStream_t stream) {
  require(first + count <= logprob_rows_.size(), "logprobs: ", first + count, " requests of ", logprob_rows_.size(),
          " planned ones");
  check_vocab(logits);
  LogprobBatch part = logprobs_;  // what is per row begins with the part's first; lists have offsets of their own
  part.rows += first;
  part.statuses += first;
  part.target_logprobs += first;
  part.count = static_cast<int32_t>(count);
  cuda::logprobs(logits, part, stream);
}

}  // namespace vitrine::cuda
