// The checks of ForwardBatchView::validate, in the order in which later ones depend on earlier ones.
#include "core/forward_batch.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "core/check.h"

namespace vitrine {
namespace {

using layout::BatchHeader;
using layout::BatchSection;

constexpr int kNumSections = static_cast<int>(BatchSection::kCount);
constexpr int32_t kKnownFlags =
    layout::kFlagResetSlot | layout::kFlagReturnLogprob | layout::kFlagReturnLogits | layout::kFlagTrackHistory;

std::string_view name_of(BatchSection section) { return layout::kBatchSectionNames[static_cast<size_t>(section)]; }

template <class Value, class... Parts>
[[noreturn]] void reject(BatchSection section, size_t index, Value got, const Parts&... expected) {
  fail("ForwardBatch.", name_of(section), "[", index, "]: expected ", expected..., ", got ", got);
}

/// A cumulative count of `requests` + 1 entries that starts at 0, never falls and ends at `total`.
void check_csr(BatchSection section, std::span<const int32_t> starts, size_t total, int32_t least_step) {
  if (starts[0] != 0) reject(section, 0, starts[0], "0");
  for (size_t i = 1; i < starts.size(); ++i) {
    const int64_t least = static_cast<int64_t>(starts[i - 1]) + least_step;
    if (starts[i] < least || static_cast<size_t>(starts[i]) > total) [[unlikely]] {
      reject(section, i, starts[i], "a value from ", least, " to ", total);
    }
  }
  const size_t last = starts.size() - 1;
  if (static_cast<size_t>(starts[last]) != total) reject(section, last, starts[last], total, " (the end)");
}

void check_token_ids(BatchSection section, std::span<const int32_t> ids, int32_t vocab_size) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (static_cast<uint32_t>(ids[i]) >= static_cast<uint32_t>(vocab_size)) [[unlikely]] {
      reject(section, i, ids[i], "a token id below ", vocab_size);
    }
  }
}

template <class Value, class Test>
void check_each(BatchSection section, std::span<const Value> values, Test ok, std::string_view expected) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!ok(values[i])) [[unlikely]]
      reject(section, i, values[i], expected);
  }
}

}  // namespace

ForwardBatchView::ForwardBatchView(std::span<const int32_t> buffer)
    : layout::ForwardBatchSections{buffer.data()}, buffer_(buffer) {}

bool ForwardBatchView::wants_spans() const {
  return buffer_.size() >= layout::kHeaderWords && header(BatchHeader::kProfile) == layout::kProfileRecord;
}

bool ForwardBatchView::tracks_history() const {
  if (buffer_.size() < layout::kHeaderWords) return false;
  const int at = layout::kDirectoryStart + 2 * static_cast<int>(BatchSection::kReqFlags);
  const int64_t offset = words[at];
  const int64_t length = words[at + 1];
  if (offset < 0 || length < 0 || offset + length > static_cast<int64_t>(buffer_.size())) return false;
  const auto tracks = [](int32_t flags) { return (flags & layout::kFlagTrackHistory) != 0; };
  return std::ranges::any_of(req_flags(), tracks);
}

void ForwardBatchView::validate(const BatchLimits& limits) const {
  validate_directory();
  validate_lengths(limits);
  validate_requests(limits);
  validate_tokens(limits);
  validate_rows(limits);
  validate_sampling(limits);
}

void ForwardBatchView::validate_directory() const {
  const auto total = static_cast<int64_t>(buffer_.size());
  require(total >= layout::kHeaderWords, "ForwardBatch: expected at least ", layout::kHeaderWords,
          " words of header, got ", total);
  require(header(BatchHeader::kMagic) == layout::kForwardBatchMagic, "ForwardBatch.magic: expected ",
          layout::kForwardBatchMagic, ", got ", header(BatchHeader::kMagic));
  require(header(BatchHeader::kVersion) == layout::kVersion, "ForwardBatch.version: expected ", layout::kVersion,
          ", got ", header(BatchHeader::kVersion));
  require(header(BatchHeader::kTotalWords) == total, "ForwardBatch.totalWords: expected ", total,
          " (the buffer's length), got ", header(BatchHeader::kTotalWords));
  const int32_t profile = header(BatchHeader::kProfile);
  require(profile == layout::kProfileOff || profile == layout::kProfileRecord, "ForwardBatch.profile: expected ",
          layout::kProfileOff, " (off) or ", layout::kProfileRecord, " (record), got ", profile);
  for (int i = 0; i < kNumSections; ++i) {
    const int64_t offset = words[layout::kDirectoryStart + 2 * i];
    const int64_t length = words[layout::kDirectoryStart + 2 * i + 1];
    require(length >= 0 && offset >= (length == 0 ? 0 : layout::kHeaderWords) && offset + length <= total,
            "ForwardBatch.", layout::kBatchSectionNames[static_cast<size_t>(i)],
            ": expected a section inside the buffer's ", total, " words and behind its header, got offset ", offset,
            " and length ", length);
  }
}

void ForwardBatchView::validate_lengths(const BatchLimits& limits) const {
  const int32_t tokens = num_tokens();
  const int32_t requests = num_requests();
  const int32_t rows = num_logit_rows();
  require(tokens >= 1 && tokens <= limits.max_batch_tokens, "ForwardBatch.numTokens: expected 1 to ",
          limits.max_batch_tokens, ", got ", tokens);
  require(requests >= 1 && requests <= std::min(tokens, limits.max_requests),
          "ForwardBatch.numRequests: expected 1 to ", std::min(tokens, limits.max_requests), ", got ", requests);
  require(rows >= 0 && rows <= tokens, "ForwardBatch.numLogitRows: expected 0 to ", tokens, ", got ", rows);
  require(header(BatchHeader::kBlockSize) == limits.block_size, "ForwardBatch.blockSize: expected ", limits.block_size,
          ", got ", header(BatchHeader::kBlockSize));

  const auto check = [this](BatchSection section, int64_t expected, bool optional) {
    const auto length = static_cast<int64_t>(this->section<int32_t>(section).size());
    require(length == expected || (optional && length == 0), "ForwardBatch.", name_of(section), ": expected ", expected,
            " entries", optional ? " or none" : "", ", got ", length);
  };
  using enum BatchSection;
  for (BatchSection section : {kTokenIds, kPositions, kKvSlots}) check(section, tokens, false);
  for (BatchSection section : {kReqSlots, kSeqLens, kReqFlags}) check(section, requests, false);
  for (BatchSection section : {kQueryStart, kBlockStart}) check(section, int64_t{requests} + 1, false);
  for (BatchSection section : {kRowTokens, kRowRequests, kRowTargets}) check(section, rows, false);
  for (BatchSection section :
       {kTemperature, kTopK, kTopP, kMinP, kFrequencyPenalty, kPresencePenalty, kRepetitionPenalty, kTopLogprobs}) {
    check(section, requests, true);
  }
  check(kSeeds, int64_t{2} * requests, true);
  for (BatchSection section : {kBiasStart, kHistoryStart, kWatchStart}) check(section, int64_t{requests} + 1, true);
  check(kBiasValues, static_cast<int64_t>(bias_ids().size()), false);
}

void ForwardBatchView::validate_requests(const BatchLimits& limits) const {
  using enum BatchSection;
  check_csr(kQueryStart, query_start(), static_cast<size_t>(num_tokens()), 1);
  check_csr(kBlockStart, block_start(), blocks().size(), 1);
  const auto starts = query_start();
  const auto table = block_start();
  const auto lengths = seq_lens();
  for (size_t r = 0; r < lengths.size(); ++r) {
    const int32_t queries = starts[r + 1] - starts[r];
    if (lengths[r] < queries || lengths[r] > limits.max_context_length) [[unlikely]] {
      reject(kSeqLens, r, lengths[r], queries, " (this batch's tokens) to ", limits.max_context_length);
    }
    const int64_t capacity = static_cast<int64_t>(table[r + 1] - table[r]) * limits.block_size;
    if (lengths[r] > capacity) [[unlikely]] {
      reject(kSeqLens, r, lengths[r], "at most the ", capacity, " tokens of the request's blocks");
    }
    const int32_t slot = req_slots()[r];
    if (slot < 0 || slot >= limits.max_requests) [[unlikely]] {
      reject(kReqSlots, r, slot, "a slot below ", limits.max_requests);
    }
    if ((req_flags()[r] & ~kKnownFlags) != 0) [[unlikely]]
      reject(kReqFlags, r, req_flags()[r], "known flags only");
  }
  const auto ids = blocks();
  for (size_t i = 0; i < ids.size(); ++i) {
    if (static_cast<uint32_t>(ids[i]) >= static_cast<uint32_t>(limits.num_blocks)) [[unlikely]] {
      reject(kBlocks, i, ids[i], "a block below ", limits.num_blocks);
    }
  }
}

void ForwardBatchView::validate_tokens(const BatchLimits& limits) const {
  using enum BatchSection;
  const auto ids = token_ids();
  for (size_t t = 0; t < ids.size(); ++t) {
    if (ids[t] >= limits.vocab_size || ids[t] < -limits.max_requests) [[unlikely]] {
      reject(kTokenIds, t, ids[t], "a token id below ", limits.vocab_size, " or a slot reference from ",
             -limits.max_requests);
    }
  }
  // Attention derives positions from seqLens and finds K and V through the block table: both must say the same.
  const auto starts = query_start();
  for (size_t r = 0; r + 1 < starts.size(); ++r) {
    const int32_t* table = blocks().data() + block_start()[r];
    int32_t position = seq_lens()[r] - (starts[r + 1] - starts[r]);
    int32_t block = position / limits.block_size;
    int32_t offset = position % limits.block_size;
    for (auto t = static_cast<size_t>(starts[r]); t < static_cast<size_t>(starts[r + 1]); ++t) {
      if (positions()[t] != position) [[unlikely]] {
        reject(kPositions, t, positions()[t], position, " (from seqLens and queryStart)");
      }
      const int32_t slot = table[block] * limits.block_size + offset;
      if (kv_slots()[t] != slot) [[unlikely]]
        reject(kKvSlots, t, kv_slots()[t], slot, " (from the block table)");
      ++position;
      if (++offset == limits.block_size) {
        offset = 0;
        ++block;
      }
    }
  }
}

void ForwardBatchView::validate_rows(const BatchLimits& limits) const {
  using enum BatchSection;
  const auto tokens = row_tokens();
  const auto requests = row_requests();
  const auto targets = row_targets();
  int32_t previous = -1;
  int32_t sampled_request = -1;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] <= previous || tokens[i] >= num_tokens()) [[unlikely]] {
      reject(kRowTokens, i, tokens[i], "an ascending token index below ", num_tokens());
    }
    previous = tokens[i];
    const int32_t r = requests[i];
    if (r < 0 || r >= num_requests() || tokens[i] < query_start()[static_cast<size_t>(r)] ||
        tokens[i] >= query_start()[static_cast<size_t>(r) + 1]) [[unlikely]] {
      reject(kRowRequests, i, r, "the request that holds token ", tokens[i]);
    }
    if (targets[i] < -1 || targets[i] >= limits.vocab_size) [[unlikely]] {
      reject(kRowTargets, i, targets[i], "-1 or a token id below ", limits.vocab_size);
    }
    if (targets[i] == -1) {
      if (r == sampled_request) [[unlikely]]
        reject(kRowTargets, i, -1, "one sampling row per request");
      sampled_request = r;
    }
  }
}

void ForwardBatchView::validate_sampling(const BatchLimits& limits) const {
  using enum BatchSection;
  const auto finite = [](float value) { return std::isfinite(value); };
  check_each(
      kTemperature, temperature(), [](float t) { return std::isfinite(t) && t >= 0; }, "a number from 0");
  check_each(
      kTopK, top_k(), [](int32_t k) { return k == -1 || k >= 1; }, "-1 or a positive count");
  check_each(
      kTopP, top_p(), [](float p) { return p > 0 && p <= 1; }, "a number in (0, 1]");
  check_each(
      kMinP, min_p(), [](float p) { return p >= 0 && p <= 1; }, "a number in [0, 1]");
  check_each(kFrequencyPenalty, frequency_penalty(), finite, "a finite number");
  check_each(kPresencePenalty, presence_penalty(), finite, "a finite number");
  check_each(
      kRepetitionPenalty, repetition_penalty(), [](float p) { return std::isfinite(p) && p > 0; }, "a positive number");
  check_each(
      kTopLogprobs, top_logprobs(), [&](int32_t n) { return n >= 0 && n <= limits.vocab_size; },
      "a count from 0 to the vocabulary size");

  const auto check_lists = [&](BatchSection starts_section, std::span<const int32_t> starts, BatchSection ids_section,
                               std::span<const int32_t> ids) {
    if (starts.empty()) {
      require(ids.empty(), "ForwardBatch.", name_of(ids_section), ": expected none without ", name_of(starts_section),
              ", got ", ids.size());
      return;
    }
    check_csr(starts_section, starts, ids.size(), 0);
    check_token_ids(ids_section, ids, limits.vocab_size);
  };
  check_lists(kBiasStart, bias_start(), kBiasIds, bias_ids());
  check_lists(kHistoryStart, history_start(), kHistoryIds, history_ids());
  check_lists(kWatchStart, watch_start(), kWatchIds, watch_ids());
  check_each(
      kBiasValues, bias_values(), [](float v) { return v < INFINITY; }, "a number below +Infinity");
}

}  // namespace vitrine
