// What a TraceScope says of itself, made once at start-up: the part of its record and of its NVTX range that no batch
// changes.
#pragma once

#include <cstdint>
#include <string>

#include "profiler/span_record.h"

namespace vitrine {

/// Rows and columns of an input; one dimension when `cols` is negative, no input at all when `rows` is.
struct TraceShape {
  int64_t rows = -1;
  int64_t cols = -1;
};

/// What else TraceScope is given has a function of this name beside it.
inline TraceShape trace_shape(const TraceShape& shape) { return shape; }

struct TraceSite {
  /// Times, rows and bytes are filled in by the scope.
  SpanRecord record{};
  /// An op ends when its scope does, by the clock; anything else ends with the last op inside.
  bool is_op = false;
  int64_t fixed_bytes = 0;         ///< an op reads or writes whatever the batch
  int64_t bytes_per_row = 0;       ///< and for each row of its first input
  int64_t bytes_per_kv_token = 0;  ///< attention: for each position that the batch sees
  int64_t flops_per_pair = 0;      ///< attention: for each pair of a query and a position that it sees
  int32_t sliding_window = 0;      ///< attention: positions a query sees; 0 = all
  int64_t flops_per_row = 0;       ///< a mixture's experts: whichever of them it chose
  int64_t bytes_per_expert = 0;    ///< a mixture's experts: for each that some row chose
  int32_t num_experts = 0;         ///< a mixture's experts: how many there are
  int32_t top_k = 0;               ///< a mixture's experts: how many a row chooses
  std::string range;               ///< what its NVTX range is called; of a module see module_range_head()
  bool is_module = false;
};

}  // namespace vitrine
