// Generated from src/engine/forward-batch-layout.ts by `npm run generate`. Do not edit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace vitrine::layout {

inline constexpr int kDirectoryStart = 16;
inline constexpr int kHeaderWords = 96;
inline constexpr int32_t kVersion = 3;
inline constexpr int32_t kForwardBatchMagic = 0x31424656;
inline constexpr int32_t kStepOutputMagic = 0x314f5356;

inline constexpr int32_t kModeExtend = 0;
inline constexpr int32_t kModeDecode = 1;
inline constexpr int32_t kModeMixed = 2;

inline constexpr int32_t kProfileOff = 0;
inline constexpr int32_t kProfileRecord = 1;

inline constexpr int32_t kFlagResetSlot = 1;
inline constexpr int32_t kFlagReturnLogprob = 2;
inline constexpr int32_t kFlagReturnLogits = 4;
inline constexpr int32_t kFlagTrackHistory = 8;

enum class BatchHeader : int {
  kMagic = 0,
  kVersion = 1,
  kTotalWords = 2,
  kStepId = 3,
  kMode = 4,
  kNumTokens = 5,
  kNumRequests = 6,
  kNumLogitRows = 7,
  kBlockSize = 8,
  kProfile = 9,
};

enum class OutputHeader : int {
  kMagic = 0,
  kVersion = 1,
  kTotalWords = 2,
  kStepId = 3,
  kNumRequests = 4,
  kNumLogitRows = 5,
  kVocabSize = 6,
  kStartNsLow = 7,
  kStartNsHigh = 8,
  kLaunchedNsLow = 9,
  kLaunchedNsHigh = 10,
  kEndNsLow = 11,
  kEndNsHigh = 12,
};

enum class BatchSection : int {
  kTokenIds = 0,  // i32[T] token id, or -(s+1): the token last sampled in request slot s
  kPositions = 1,  // i32[T] position in the sequence, from 0
  kKvSlots = 2,  // i32[T] where the token’s K and V go: block * blockSize + offset
  kReqSlots = 3,  // i32[R] persistent request slot (last sampled token, token history)
  kQueryStart = 4,  // i32[R+1] CSR: first token of each request in this batch
  kSeqLens = 5,  // i32[R] tokens in the KV cache after this step
  kReqFlags = 6,  // i32[R] REQUEST_FLAG bits
  kBlockStart = 7,  // i32[R+1] CSR into `blocks`
  kBlocks = 8,  // i32[B] block table: block ids in sequence order
  kTemperature = 9,  // f32[R] 0 = greedy (default)
  kTopK = 10,  // i32[R] -1 = off (default)
  kTopP = 11,  // f32[R] 1 = off (default)
  kMinP = 12,  // f32[R] 0 = off (default)
  kFrequencyPenalty = 13,  // f32[R] 0 = off (default)
  kPresencePenalty = 14,  // f32[R] 0 = off (default)
  kRepetitionPenalty = 15,  // f32[R] 1 = off (default)
  kSeeds = 16,  // u32[2R] low and high word of the seed; 0 by default
  kTopLogprobs = 17,  // i32[R] how many most likely tokens to return; 0 by default
  kBiasStart = 18,  // i32[R+1] CSR into `biasIds` and `biasValues`
  kBiasIds = 19,  // i32[n] token id
  kBiasValues = 20,  // f32[n] added to the logit; -Infinity suppresses the token
  kHistoryStart = 21,  // i32[R+1] CSR into `historyIds`
  kHistoryIds = 22,  // i32[n] tokens generated so far, for penalties; read with resetSlot
  kWatchStart = 23,  // i32[R+1] CSR into `watchIds`
  kWatchIds = 24,  // i32[n] token ids whose log-probability is returned
  kRowTokens = 25,  // i32[L] index of the token whose logits are computed; ascending
  kRowRequests = 26,  // i32[L] request (index in this batch) of the row
  kRowTargets = 27,  // i32[L] token id whose log-probability is wanted, or -1: sample here
  kCount = 28,
};

enum class OutputSection : int {
  kSampledIds = 0,  // i32[R] sampled token, or -1 when the request has no sampling row
  kRowLogprobs = 1,  // f32[L] log-probability of the row’s target (or sampled token); NaN when not asked for
  kTopStart = 2,  // i32[L+1] CSR into `topIds` and `topLogprobs`
  kTopIds = 3,  // i32[n] most likely tokens, best first
  kTopLogprobs = 4,  // f32[n] their log-probabilities
  kWatchStart = 5,  // i32[L+1] CSR into `watchLogprobs`
  kWatchLogprobs = 6,  // f32[n] log-probabilities of the request’s watchIds
  kLogitStart = 7,  // i32[L+1] CSR into `logits`: vocabSize entries for rows that return logits, else none
  kLogits = 8,  // f32[n] raw logits
  kCount = 9,
};

/// The sections' names in forward-batch-layout.ts, for messages.
inline constexpr std::array<std::string_view, 28> kBatchSectionNames = {
    "tokenIds",
    "positions",
    "kvSlots",
    "reqSlots",
    "queryStart",
    "seqLens",
    "reqFlags",
    "blockStart",
    "blocks",
    "temperature",
    "topK",
    "topP",
    "minP",
    "frequencyPenalty",
    "presencePenalty",
    "repetitionPenalty",
    "seeds",
    "topLogprobs",
    "biasStart",
    "biasIds",
    "biasValues",
    "historyStart",
    "historyIds",
    "watchStart",
    "watchIds",
    "rowTokens",
    "rowRequests",
    "rowTargets",
};

/// Read access to every section of a ForwardBatch; no checks (see validate()).
struct ForwardBatchSections {
  const int32_t* words = nullptr;

  template <class T>
  std::span<const T> section(BatchSection which) const {
    const int at = kDirectoryStart + 2 * static_cast<int>(which);
    return {reinterpret_cast<const T*>(words + words[at]), static_cast<size_t>(words[at + 1])};
  }

  std::span<const int32_t> token_ids() const { return section<int32_t>(BatchSection::kTokenIds); }
  std::span<const int32_t> positions() const { return section<int32_t>(BatchSection::kPositions); }
  std::span<const int32_t> kv_slots() const { return section<int32_t>(BatchSection::kKvSlots); }
  std::span<const int32_t> req_slots() const { return section<int32_t>(BatchSection::kReqSlots); }
  std::span<const int32_t> query_start() const { return section<int32_t>(BatchSection::kQueryStart); }
  std::span<const int32_t> seq_lens() const { return section<int32_t>(BatchSection::kSeqLens); }
  std::span<const int32_t> req_flags() const { return section<int32_t>(BatchSection::kReqFlags); }
  std::span<const int32_t> block_start() const { return section<int32_t>(BatchSection::kBlockStart); }
  std::span<const int32_t> blocks() const { return section<int32_t>(BatchSection::kBlocks); }
  std::span<const float> temperature() const { return section<float>(BatchSection::kTemperature); }
  std::span<const int32_t> top_k() const { return section<int32_t>(BatchSection::kTopK); }
  std::span<const float> top_p() const { return section<float>(BatchSection::kTopP); }
  std::span<const float> min_p() const { return section<float>(BatchSection::kMinP); }
  std::span<const float> frequency_penalty() const { return section<float>(BatchSection::kFrequencyPenalty); }
  std::span<const float> presence_penalty() const { return section<float>(BatchSection::kPresencePenalty); }
  std::span<const float> repetition_penalty() const { return section<float>(BatchSection::kRepetitionPenalty); }
  std::span<const uint32_t> seeds() const { return section<uint32_t>(BatchSection::kSeeds); }
  std::span<const int32_t> top_logprobs() const { return section<int32_t>(BatchSection::kTopLogprobs); }
  std::span<const int32_t> bias_start() const { return section<int32_t>(BatchSection::kBiasStart); }
  std::span<const int32_t> bias_ids() const { return section<int32_t>(BatchSection::kBiasIds); }
  std::span<const float> bias_values() const { return section<float>(BatchSection::kBiasValues); }
  std::span<const int32_t> history_start() const { return section<int32_t>(BatchSection::kHistoryStart); }
  std::span<const int32_t> history_ids() const { return section<int32_t>(BatchSection::kHistoryIds); }
  std::span<const int32_t> watch_start() const { return section<int32_t>(BatchSection::kWatchStart); }
  std::span<const int32_t> watch_ids() const { return section<int32_t>(BatchSection::kWatchIds); }
  std::span<const int32_t> row_tokens() const { return section<int32_t>(BatchSection::kRowTokens); }
  std::span<const int32_t> row_requests() const { return section<int32_t>(BatchSection::kRowRequests); }
  std::span<const int32_t> row_targets() const { return section<int32_t>(BatchSection::kRowTargets); }
};

}  // namespace vitrine::layout
