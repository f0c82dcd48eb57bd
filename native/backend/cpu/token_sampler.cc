// Every sum runs in an order fixed by the row, so a token depends on logits, parameters, seed and position alone.
#include "backend/cpu/token_sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cpu/top_select.h"
#include "core/check.h"
#include "core/philox.h"

namespace vitrine {
namespace {

constexpr int64_t kBlock = 1024;

bool has_penalty(const SampleParams& params) {
  return !params.history.empty() &&
         (params.repetition_penalty != 1.0f || params.frequency_penalty != 0.0f || params.presence_penalty != 0.0f);
}

float penalized(float x, int32_t count, const SampleParams& params) {
  x = x > 0 ? x / params.repetition_penalty : x * params.repetition_penalty;
  return x - params.frequency_penalty * static_cast<float>(count) - params.presence_penalty;
}

}  // namespace

const float* TokenSampler::adjust(const float* logits, int64_t vocab, const SampleParams& params) {
  if (!has_penalty(params) && params.bias_ids.empty()) return logits;
  adjusted_.assign(logits, logits + vocab);
  if (has_penalty(params)) {
    counts_.resize(static_cast<size_t>(vocab), 0);
    for (const int32_t id : params.history) ++counts_[static_cast<size_t>(id)];
    for (const int32_t id : params.history) {
      int32_t& count = counts_[static_cast<size_t>(id)];
      if (count == 0) continue;  // done at its first occurrence
      adjusted_[static_cast<size_t>(id)] = penalized(adjusted_[static_cast<size_t>(id)], count, params);
      count = 0;
    }
  }
  for (size_t i = 0; i < params.bias_ids.size(); ++i) {
    adjusted_[static_cast<size_t>(params.bias_ids[i])] += params.bias_values[i];
  }
  return adjusted_.data();
}

int32_t TokenSampler::sample(const float* logits, int64_t vocab, const SampleParams& params, int32_t row) {
  require(vocab > 0, "no logits to sample from in row ", row);
  float maximum;
  require(kernels_.finite_max(logits, vocab, &maximum), "non-finite logits in row ", row,
          ": the model's output overflowed or is not a number");
  const float* x = adjust(logits, vocab, params);
  if (x != logits) {
    kernels_.finite_max(x, vocab, &maximum);  // -infinity is a suppressed token
    require(maximum != -std::numeric_limits<float>::infinity(), "every token of row ", row,
            " is suppressed by its logit bias");
    require(std::isfinite(maximum), "non-finite logits in row ", row, " after penalties and logit bias");
  }
  if (params.temperature == 0.0f) return static_cast<int32_t>(kernels_.find_ge(x, 0, vocab, maximum));
  const bool sorted = (params.top_k > 0 && params.top_k < vocab) || params.top_p < 1.0f;
  return sorted ? sample_sorted(x, vocab, maximum, params) : sample_all(x, vocab, maximum, params);
}

int32_t TokenSampler::sample_all(const float* x, int64_t vocab, float maximum, const SampleParams& params) {
  weights_.resize(static_cast<size_t>(vocab));
  blocks_.clear();
  double total = 0;
  for (int64_t first = 0; first < vocab; first += kBlock) {
    const int64_t count = std::min(kBlock, vocab - first);
    blocks_.push_back(kernels_.exp_sum(x + first, count, maximum, params.temperature, weights_.data() + first));
    total += blocks_.back();
  }
  if (params.min_p > 0.0f) {
    ids_.clear();
    candidate_weights_.clear();
    for (int64_t i = 0; (i = kernels_.find_ge(weights_.data(), i, vocab, params.min_p)) < vocab; ++i) {
      ids_.push_back(static_cast<int32_t>(i));
      candidate_weights_.push_back(weights_[static_cast<size_t>(i)]);
    }
    return pick(params, ids_.size());
  }
  double left = uniform(params.seed, static_cast<uint32_t>(params.position)) * total;
  int64_t block = 0;
  while (block + 1 < static_cast<int64_t>(blocks_.size()) && left >= blocks_[static_cast<size_t>(block)]) {
    left -= blocks_[static_cast<size_t>(block++)];
  }
  int64_t chosen = -1;
  for (int64_t i = block * kBlock; i < std::min(vocab, (block + 1) * kBlock); ++i) {
    const float weight = weights_[static_cast<size_t>(i)];
    if (weight <= 0.0f) continue;
    chosen = i;
    left -= weight;
    if (left < 0) break;
  }
  if (chosen < 0) chosen = kernels_.find_ge(x, 0, vocab, maximum);  // rounding led into a block of zeros
  return static_cast<int32_t>(chosen);
}

int32_t TokenSampler::sample_sorted(const float* x, int64_t vocab, float maximum, const SampleParams& params) {
  if (params.top_k > 0 && params.top_k < vocab) {
    select_top(kernels_, x, vocab, params.top_k, ids_);
    candidate_logits_.resize(ids_.size());
    candidate_weights_.resize(ids_.size());
    for (size_t i = 0; i < ids_.size(); ++i) candidate_logits_[i] = x[ids_[i]];
    kernels_.exp_sum(candidate_logits_.data(), static_cast<int64_t>(ids_.size()), maximum, params.temperature,
                     candidate_weights_.data());
    if (params.top_p < 1.0f) {
      double total = 0;
      for (const float weight : candidate_weights_) total += weight;
      double before = 0;
      size_t kept = 0;
      while (kept < ids_.size() && before <= params.top_p * total) before += candidate_weights_[kept++];
      ids_.resize(kept);
    }
  } else {
    nucleus_of_all(x, vocab, maximum, params);
  }
  size_t count = ids_.size();
  while (count > 1 && candidate_weights_[count - 1] < params.min_p) --count;  // the largest weight is 1
  return pick(params, count);
}

/// Sorts only tokens above a threshold that falls until their mass covers top_p.
void TokenSampler::nucleus_of_all(const float* x, int64_t vocab, float maximum, const SampleParams& params) {
  weights_.resize(static_cast<size_t>(vocab));
  const double total = kernels_.exp_sum(x, vocab, maximum, params.temperature, weights_.data());
  const double wanted = params.top_p * total;
  const auto better = [this](int32_t a, int32_t b) {
    const float wa = weights_[static_cast<size_t>(a)];
    const float wb = weights_[static_cast<size_t>(b)];
    return wa > wb || (wa == wb && a < b);
  };
  for (float threshold = 0x1p-5f;; threshold *= 0x1p-6f) {
    if (threshold < 0x1p-60f) threshold = 0.0f;
    ids_.clear();
    for (int64_t i = 0; (i = kernels_.find_ge(weights_.data(), i, vocab, threshold)) < vocab; ++i) {
      ids_.push_back(static_cast<int32_t>(i));
    }
    std::sort(ids_.begin(), ids_.end(), better);
    double before = 0;
    size_t kept = 0;
    while (kept < ids_.size() && before <= wanted) before += weights_[static_cast<size_t>(ids_[kept++])];
    if (before <= wanted && threshold > 0.0f) continue;  // the nucleus goes on below the threshold
    ids_.resize(kept);
    break;
  }
  candidate_weights_.resize(ids_.size());
  for (size_t i = 0; i < ids_.size(); ++i) candidate_weights_[i] = weights_[static_cast<size_t>(ids_[i])];
}

int32_t TokenSampler::pick(const SampleParams& params, size_t count) const {
  double total = 0;
  for (size_t i = 0; i < count; ++i) total += candidate_weights_[i];
  double left = uniform(params.seed, static_cast<uint32_t>(params.position)) * total;
  size_t chosen = 0;
  for (size_t i = 0; i < count; ++i) {
    if (candidate_weights_[i] <= 0.0f) continue;
    chosen = i;
    left -= candidate_weights_[i];
    if (left < 0) break;
  }
  return ids_[chosen];
}

void TokenSampler::logprobs(const float* logits, int64_t vocab, const LogprobRequest& request) {
  float maximum;
  require(kernels_.finite_max(logits, vocab, &maximum), "non-finite logits in row ", request.row,
          ": the model's output overflowed or is not a number");
  const double log_total = maximum + std::log(kernels_.exp_sum(logits, vocab, maximum, 1.0f, nullptr));
  const auto logprob = [&](int32_t id) { return static_cast<float>(logits[id] - log_total); };
  if (request.target_logprob != nullptr) *request.target_logprob = logprob(request.target);
  if (request.top_count > 0) {
    select_top(kernels_, logits, vocab, request.top_count, ids_);
    for (size_t i = 0; i < ids_.size(); ++i) {
      request.top_ids[i] = ids_[i];
      request.top_logprobs[i] = logprob(ids_[i]);
    }
  }
  for (size_t i = 0; i < request.watch_ids.size(); ++i) request.watch_logprobs[i] = logprob(request.watch_ids[i]);
}

}  // namespace vitrine
