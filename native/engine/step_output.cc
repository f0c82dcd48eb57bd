// The layout of StepOutput (see forward-batch-layout.ts).
#include "engine/step_output.h"

#include <algorithm>
#include <array>
#include <limits>

#include "core/check.h"

namespace vitrine {
namespace {

using layout::OutputHeader;
using layout::OutputSection;

constexpr size_t kSections = static_cast<size_t>(OutputSection::kCount);

/// Entries of one row in the three variable sections.
struct RowCounts {
  int64_t top = 0;
  int64_t watch = 0;
  int64_t logits = 0;
};

RowCounts counts_of_row(const ForwardBatchView& batch, size_t row, int32_t vocab_size) {
  const auto request = static_cast<size_t>(batch.row_requests()[row]);
  const int32_t flags = batch.req_flags()[request];
  RowCounts counts;
  if ((flags & layout::kFlagReturnLogprob) != 0) {
    if (!batch.top_logprobs().empty()) counts.top = batch.top_logprobs()[request];
    if (!batch.watch_start().empty()) counts.watch = batch.watch_start()[request + 1] - batch.watch_start()[request];
  }
  if ((flags & layout::kFlagReturnLogits) != 0) counts.logits = vocab_size;
  return counts;
}

}  // namespace

StepOutput::StepOutput(const ForwardBatchView& batch, int32_t vocab_size, std::vector<int32_t>& words) : words_(words) {
  const auto rows = static_cast<size_t>(batch.num_logit_rows());
  RowCounts totals;
  for (size_t i = 0; i < rows; ++i) {
    const RowCounts counts = counts_of_row(batch, i, vocab_size);
    totals.top += counts.top;
    totals.watch += counts.watch;
    totals.logits += counts.logits;
  }
  const auto csr = static_cast<int64_t>(rows) + 1;
  const std::array<int64_t, kSections> lengths = {
      batch.num_requests(), batch.num_logit_rows(), csr, totals.top, totals.top, csr, totals.watch, csr, totals.logits};
  int64_t total = layout::kHeaderWords;
  for (const int64_t length : lengths) total += length;
  require(total <= std::numeric_limits<int32_t>::max(), "StepOutput: the batch asks for ", totals.logits,
          " logits and ", totals.top + totals.watch, " log-probabilities, too many for one buffer");

  words.resize(static_cast<size_t>(total));
  std::fill_n(words.begin(), layout::kHeaderWords, 0);
  int64_t offset = layout::kHeaderWords;
  for (size_t i = 0; i < kSections; ++i) {
    words[static_cast<size_t>(layout::kDirectoryStart) + 2 * i] = static_cast<int32_t>(offset);
    words[static_cast<size_t>(layout::kDirectoryStart) + 2 * i + 1] = static_cast<int32_t>(lengths[i]);
    offset += lengths[i];
  }
  set_header(OutputHeader::kMagic, layout::kStepOutputMagic);
  set_header(OutputHeader::kVersion, layout::kVersion);
  set_header(OutputHeader::kTotalWords, total);
  set_header(OutputHeader::kStepId, batch.step_id());
  set_header(OutputHeader::kNumRequests, batch.num_requests());
  set_header(OutputHeader::kNumLogitRows, batch.num_logit_rows());
  set_header(OutputHeader::kVocabSize, vocab_size);

  std::fill_n(ints(OutputSection::kSampledIds), batch.num_requests(), -1);
  std::fill_n(floats(OutputSection::kRowLogprobs), rows, std::numeric_limits<float>::quiet_NaN());
  int32_t* top = ints(OutputSection::kTopStart);
  int32_t* watch = ints(OutputSection::kWatchStart);
  int32_t* logits = ints(OutputSection::kLogitStart);
  top[0] = watch[0] = logits[0] = 0;
  for (size_t i = 0; i < rows; ++i) {
    const RowCounts counts = counts_of_row(batch, i, vocab_size);
    top[i + 1] = top[i] + static_cast<int32_t>(counts.top);
    watch[i + 1] = watch[i] + static_cast<int32_t>(counts.watch);
    logits[i + 1] = logits[i] + static_cast<int32_t>(counts.logits);
  }
}

void StepOutput::set_times(int64_t start_ns, int64_t launched_ns, int64_t end_ns) {
  const auto low = [](int64_t ns) { return static_cast<int32_t>(static_cast<uint64_t>(ns) & 0xffffffffU); };
  set_header(OutputHeader::kStartNsLow, low(start_ns));
  set_header(OutputHeader::kStartNsHigh, start_ns >> 32);
  set_header(OutputHeader::kLaunchedNsLow, low(launched_ns));
  set_header(OutputHeader::kLaunchedNsHigh, launched_ns >> 32);
  set_header(OutputHeader::kEndNsLow, low(end_ns));
  set_header(OutputHeader::kEndNsHigh, end_ns >> 32);
}

std::span<int32_t> StepOutput::top_ids(size_t row) {
  const int32_t* starts = ints(OutputSection::kTopStart);
  return {ints(OutputSection::kTopIds) + starts[row], static_cast<size_t>(starts[row + 1] - starts[row])};
}

std::span<float> StepOutput::top_logprobs(size_t row) {
  return row_floats(OutputSection::kTopStart, OutputSection::kTopLogprobs, row);
}

std::span<float> StepOutput::watch_logprobs(size_t row) {
  return row_floats(OutputSection::kWatchStart, OutputSection::kWatchLogprobs, row);
}

std::span<float> StepOutput::logits(size_t row) {
  return row_floats(OutputSection::kLogitStart, OutputSection::kLogits, row);
}

int32_t* StepOutput::ints(OutputSection section) {
  return words_.data() + words_[static_cast<size_t>(layout::kDirectoryStart) + 2 * static_cast<size_t>(section)];
}

std::span<float> StepOutput::row_floats(OutputSection starts, OutputSection values, size_t row) {
  const int32_t* start = ints(starts);
  return {floats(values) + start[row], static_cast<size_t>(start[row + 1] - start[row])};
}

void StepOutput::set_header(OutputHeader word, int64_t value) {
  words_[static_cast<size_t>(word)] = static_cast<int32_t>(value);
}

}  // namespace vitrine
