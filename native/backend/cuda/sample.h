// Tokens and log-probabilities from rows of logits: one block a row.
#pragma once

#include "backend/cuda/launch.h"

namespace vitrine::cuda {

/// Ids are packed with logits into one word; sums of their fixed-point weights stay inside 32 bits.
constexpr int64_t kMostVocab = int64_t{1} << 19;

/// One sampled token; offsets are into the arrays of SampleBatch.
struct SampleRow {
  double uniform;         ///< in (0, 1): the random number of (seed, position)
  int32_t* device_token;  ///< gets the token too; may be null
  float temperature;
  float top_p;
  float min_p;
  float frequency_penalty;
  float presence_penalty;
  float repetition_penalty;
  int32_t row;  ///< of the logits
  int32_t top_k;
  int32_t history_first, history_count;
  int32_t bias_first, bias_count;
  int32_t adjusted;  ///< number among the step's rows with a penalty or a bias; -1: it has none
};

enum SampleStatus : int32_t {
  kSampled = 0,
  kNonFiniteLogits = 1,
  kAllSuppressed = 2,
  kNonFiniteAdjusted = 3,
};

struct SampleResult {
  int32_t token;
  int32_t status;  ///< SampleStatus
};

/// Device memory.
struct SampleBatch {
  const SampleRow* rows = nullptr;
  int32_t count = 0;
  const int32_t* history = nullptr;
  const int32_t* bias_ids = nullptr;
  const float* bias_values = nullptr;
  float* adjusted = nullptr;           ///< [places, vocab]
  int32_t* adjusted_counts = nullptr;  ///< [places, vocab]
  SampleResult* results = nullptr;     ///< [count]
  int32_t first_adjusted = 0;          ///< whose place in `adjusted` is the first
};

/// The token that TokenSampler of the CPU draws, up to the rounding of weights: they are 36-bit fixed-point numbers
/// here, so that sums do not depend on their order.
void sample(const VitrineTensor& logits, const SampleBatch& batch, cudaStream_t stream);

/// Log-probabilities of one row; offsets are into the outputs of LogprobBatch.
struct LogprobRow {
  int32_t row;
  int32_t target;  ///< -(i + 1): LogprobBatch::sampled[i]
  int32_t top_first, top_count;
  int32_t watch_first, watch_count;
  int32_t watch_ids_first;  ///< in LogprobBatch::watch_ids
};

/// Device memory.
struct LogprobBatch {
  const LogprobRow* rows = nullptr;
  int32_t count = 0;
  const int32_t* watch_ids = nullptr;
  int32_t* statuses = nullptr;       ///< [count]: SampleStatus
  float* target_logprobs = nullptr;  ///< [count]
  int32_t* top_ids = nullptr;        ///< best first, ties by lower id
  float* top_logprobs = nullptr;
  float* watch_logprobs = nullptr;
  const SampleResult* sampled = nullptr;  ///< of the step
};

void logprobs(const VitrineTensor& logits, const LogprobBatch& batch, cudaStream_t stream);

}  // namespace vitrine::cuda
