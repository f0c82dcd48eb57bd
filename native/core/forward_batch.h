// Read access to one ForwardBatch and the check at the door: after validate() every index in it can be trusted.
#pragma once

#include <cstdint>
#include <span>

#include "core/forward_batch_layout.h"

namespace vitrine {

/// What the engine was sized for; every id and position of a batch must lie inside.
struct BatchLimits {
  int32_t vocab_size = 0;
  int32_t num_blocks = 0;
  int32_t block_size = 0;
  int32_t max_requests = 0;
  int32_t max_batch_tokens = 0;
  int32_t max_context_length = 0;
};

/// The words are borrowed and must stay unchanged while the view is used.
class ForwardBatchView : public layout::ForwardBatchSections {
 public:
  explicit ForwardBatchView(std::span<const int32_t> buffer);

  int32_t header(layout::BatchHeader word) const { return words[static_cast<int>(word)]; }
  int32_t step_id() const { return header(layout::BatchHeader::kStepId); }
  int32_t num_tokens() const { return header(layout::BatchHeader::kNumTokens); }
  int32_t num_requests() const { return header(layout::BatchHeader::kNumRequests); }
  int32_t num_logit_rows() const { return header(layout::BatchHeader::kNumLogitRows); }
  /// The batch asks for its step's spans. May be called before validate().
  bool wants_spans() const;
  /// A request's sampling depends on the tokens generated before. May be called before validate().
  bool tracks_history() const;
  std::span<const int32_t> all_words() const { return buffer_; }

  /// Throws Error naming section and index of the first thing that is wrong. Nothing else may be called before it.
  void validate(const BatchLimits& limits) const;

 private:
  void validate_directory() const;
  void validate_lengths(const BatchLimits& limits) const;
  void validate_requests(const BatchLimits& limits) const;
  void validate_tokens(const BatchLimits& limits) const;
  void validate_rows(const BatchLimits& limits) const;
  void validate_sampling(const BatchLimits& limits) const;

  std::span<const int32_t> buffer_;
};

}  // namespace vitrine
