// Launches in groups, so that the adjusted copies of rows stay within a bound.
#include "backend/cuda/sampler.h"

#include <algorithm>

#include "core/philox.h"

namespace vitrine::cuda {
namespace {

constexpr size_t kMostAdjustedBytes = size_t{64} << 20;

bool is_adjusted(const VitrineSampleParams& params) {
  const bool penalty =
      params.history_count > 0 &&
      (params.repetition_penalty != 1.0f || params.frequency_penalty != 0.0f || params.presence_penalty != 0.0f);
  return penalty || params.bias_count > 0;
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
const T* upload(Transfers& transfers, const std::vector<T>& values) {
  return static_cast<const T*>(transfers.upload(values.data(), values.size() * sizeof(T)));
}

}  // namespace

void Sampler::sample(const VitrineTensor& logits, std::span<const int32_t> rows,
                     std::span<const VitrineSampleParams> params, int32_t* sampled) {
  if (rows.empty()) return;
  check_vocab(logits);
  const size_t row_bytes = static_cast<size_t>(logits.cols) * (sizeof(float) + sizeof(int32_t));
  const auto most_adjusted = static_cast<int32_t>(std::max<size_t>(1, kMostAdjustedBytes / row_bytes));

  rows_.clear();
  words_.clear();
  bias_values_.clear();
  std::vector<size_t> group_ends;  // each group has most_adjusted adjusted rows at most
  int32_t adjusted = 0;
  int32_t places = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const VitrineSampleParams& from = params[i];
    SampleRow to{};
    to.uniform = uniform(from.seed, static_cast<uint32_t>(from.position));
    to.temperature = from.temperature;
    to.top_p = from.top_p;
    to.min_p = from.min_p;
    to.frequency_penalty = from.frequency_penalty;
    to.presence_penalty = from.presence_penalty;
    to.repetition_penalty = from.repetition_penalty;
    to.row = rows[i];
    to.top_k = from.top_k;
    to.adjusted = -1;
    if (is_adjusted(from)) {
      if (adjusted == most_adjusted) {
        group_ends.push_back(i);
        adjusted = 0;
      }
      to.adjusted = adjusted++;
      places = std::max(places, adjusted);
      to.history_first = static_cast<int32_t>(words_.size());
      to.history_count = from.history_count;
      words_.insert(words_.end(), from.history, from.history + from.history_count);
      to.bias_first = static_cast<int32_t>(bias_values_.size());
      to.bias_count = from.bias_count;
      bias_values_.insert(bias_values_.end(), from.bias_values, from.bias_values + from.bias_count);
    }
    rows_.push_back(to);
  }
  group_ends.push_back(rows.size());
  const size_t first_bias = words_.size();
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows_[i].adjusted >= 0) {
      words_.insert(words_.end(), params[i].bias_ids, params[i].bias_ids + params[i].bias_count);
    }
  }

  SampleBatch batch;
  batch.rows = upload(transfers_, rows_);
  batch.history = upload(transfers_, words_);
  batch.bias_ids = batch.history + first_bias;
  batch.bias_values = upload(transfers_, bias_values_);
  if (places > 0) {
    batch.adjusted = static_cast<float*>(adjusted_.reserve(static_cast<size_t>(places) * row_bytes));
    batch.adjusted_counts = reinterpret_cast<int32_t*>(batch.adjusted + places * logits.cols);
  }
  auto* results = static_cast<SampleResult*>(outputs_.reserve(rows.size() * sizeof(SampleResult)));
  size_t first = 0;
  for (const size_t end : group_ends) {
    SampleBatch group = batch;
    group.rows = batch.rows + first;
    group.count = static_cast<int32_t>(end - first);
    group.results = results + first;
    cuda::sample(logits, group, stream_);
    first = end;
  }
  results_.resize(rows.size());
  transfers_.read(results_.data(), results, rows.size() * sizeof(SampleResult));
  for (size_t i = 0; i < rows.size(); ++i) {
    check_status(results_[i].status, rows[i]);
    sampled[i] = results_[i].token;
  }
}

void Sampler::logprobs(const VitrineTensor& logits, std::span<const VitrineLogprobRequest> requests) {
  if (requests.empty()) return;
  check_vocab(logits);
  logprob_rows_.clear();
  words_.clear();
  int32_t tops = 0;
  for (const VitrineLogprobRequest& request : requests) {
    logprob_rows_.push_back({request.row, request.target, tops, request.top_count, static_cast<int32_t>(words_.size()),
                             request.watch_count});
    tops += request.top_count;
    words_.insert(words_.end(), request.watch_ids, request.watch_ids + request.watch_count);
  }
  const size_t count = requests.size();
  const auto top_total = static_cast<size_t>(tops);
  const size_t total = 2 * count + 2 * top_total + words_.size();  // words, in the order of the struct

  LogprobBatch batch;
  batch.rows = upload(transfers_, logprob_rows_);
  batch.count = static_cast<int32_t>(count);
  batch.watch_ids = upload(transfers_, words_);
  auto* out = static_cast<int32_t*>(outputs_.reserve(total * sizeof(int32_t)));
  batch.statuses = out;
  batch.target_logprobs = reinterpret_cast<float*>(out + count);
  batch.top_ids = out + 2 * count;
  batch.top_logprobs = reinterpret_cast<float*>(out + 2 * count + top_total);
  batch.watch_logprobs = reinterpret_cast<float*>(out + 2 * count + 2 * top_total);
  cuda::logprobs(logits, batch, stream_);

  read_.resize(total * sizeof(int32_t));
  transfers_.read(read_.data(), out, read_.size());
  const auto* words = reinterpret_cast<const int32_t*>(read_.data());
  const auto* floats = reinterpret_cast<const float*>(read_.data());
  for (size_t i = 0; i < count; ++i) {
    const VitrineLogprobRequest& request = requests[i];
    check_status(words[i], request.row);
    const LogprobRow& row = logprob_rows_[i];
    if (request.target_logprob != nullptr) *request.target_logprob = floats[count + i];
    std::copy_n(words + 2 * count + row.top_first, row.top_count, request.top_ids);
    std::copy_n(floats + 2 * count + top_total + row.top_first, row.top_count, request.top_logprobs);
    std::copy_n(floats + 2 * count + 2 * top_total + row.watch_first, row.watch_count, request.watch_logprobs);
  }
}

}  // namespace vitrine::cuda
