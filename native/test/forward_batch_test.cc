// The check at the door: what validate() lets through must be safe to run, whatever the words are.
#include "core/forward_batch.h"

#include <random>

#include "core/check.h"
#include "test_framework.h"
#include "tiny_model.h"

namespace vitrine::test {
namespace {

const BatchLimits kLimits{100, 32, 4, 8, 64, 40};

std::vector<int32_t> good_words() {
  return forward_batch_words(
      {
          {2, 0, {1, 2, 99, 4, 5, 6}, {9, 3}, 0, {3, 5}},
          {0, 9, {-3}, {31, 0, 7}, layout::kFlagTrackHistory, {0}},
          {7, 36, {5, 5, 5, 5}, {1, 2, 4, 5, 6, 8, 10, 11, 12, 13}, layout::kFlagReturnLogprob, {}},
      },
      4);
}

void expect_rejected(std::vector<int32_t> words, const BatchLimits& limits, const std::string& message) {
  CHECK_THROWS_WITH(ForwardBatchView(words).validate(limits), message);
}

}  // namespace

TEST("forward_batch: a good batch passes and can be read") {
  const std::vector<int32_t> words = good_words();
  const ForwardBatchView batch(words);
  batch.validate(kLimits);
  CHECK_EQ(batch.num_tokens(), 11);
  CHECK_EQ(batch.num_requests(), 3);
  CHECK_EQ(batch.num_logit_rows(), 3);
  CHECK_EQ(batch.token_ids()[6], -3);
  CHECK_EQ(batch.seq_lens()[2], 40);
  CHECK(batch.temperature().empty());
}

TEST("forward_batch: every limit counts") {
  const auto with = [](auto change) {
    BatchLimits limits = kLimits;
    change(limits);
    return limits;
  };
  expect_rejected(good_words(), with([](BatchLimits& l) { l.vocab_size = 99; }), "tokenIds[2]");
  expect_rejected(good_words(), with([](BatchLimits& l) { l.num_blocks = 31; }), "blocks[2]");
  expect_rejected(good_words(), with([](BatchLimits& l) { l.block_size = 8; }), "blockSize");
  expect_rejected(good_words(), with([](BatchLimits& l) { l.max_requests = 7; }), "reqSlots[2]");
  expect_rejected(good_words(), with([](BatchLimits& l) { l.max_requests = 2; }), "numRequests");
  expect_rejected(good_words(), with([](BatchLimits& l) { l.max_batch_tokens = 10; }), "numTokens");
  expect_rejected(good_words(), with([](BatchLimits& l) { l.max_context_length = 39; }), "seqLens[2]");
}

TEST("forward_batch: cut at any length") {
  const std::vector<int32_t> words = good_words();
  for (size_t length = 0; length < words.size(); ++length) {
    const std::vector<int32_t> cut(words.begin(), words.begin() + static_cast<int64_t>(length));
    CHECK_THROWS_WITH(ForwardBatchView(cut).validate(kLimits), "ForwardBatch");
  }
}

TEST("forward_batch: random damage never reads outside the buffer") {
  std::mt19937 random(7);
  const std::vector<int32_t> good = good_words();
  int rejected = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<int32_t> words = good;
    words.shrink_to_fit();  // AddressSanitizer sees the true end
    for (uint32_t hits = 1 + random() % 3; hits > 0; --hits) {
      const auto value = static_cast<int32_t>(random() % 4 == 0 ? random() : random() % 128);
      words[random() % words.size()] = value;
    }
    try {
      ForwardBatchView(words).validate(kLimits);
    } catch (const Error&) {
      ++rejected;
    }
  }
  CHECK(rejected > 10000);
}

}  // namespace vitrine::test
