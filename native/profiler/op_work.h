// What an op has to move and to compute, from its site and the batch: what its time is measured against. Bytes are what
// it must read and write at least, each operand once; operations are those of its products, two a multiply-add.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "profiler/trace_site.h"

namespace vitrine {

/// Lengths of a batch as attention sees them, in host memory.
struct AttentionLengths {
  std::span<const int32_t> query_start;  ///< [R+1]
  std::span<const int32_t> seq_lens;     ///< [R]
};

/// Positions that the queries of a batch see, each request's once. `window`: positions a query sees, 0 for all.
int64_t visible_tokens(const AttentionLengths& lengths, int32_t window);
/// Pairs of a query and a position that it sees.
int64_t attention_pairs(const AttentionLengths& lengths, int32_t window);

struct OpWork {
  int64_t bytes = 0;  ///< 0: not known
  double flops = 0;   ///< 0: not known, or none to speak of
};

/// Of an op over `rows` rows. `used_experts`: how many of a mixture's experts the rows chose together; without it their
/// bytes are known only where every choice gives the same number.
OpWork op_work(const TraceSite& site, int64_t rows, const AttentionLengths& lengths,
               std::optional<int64_t> used_experts = std::nullopt);

/// The name of the module that an op's record names; none for a phase of the engine.
std::optional<uint32_t> module_of(const SpanRecord& record);

/// As its record says, without what records behind it add: operations of attention, all of a mixture's experts.
OpWork recorded_work(const SpanRecord& record);

}  // namespace vitrine
