// What a CUDA graph was captured from, op by op: the way from a replayed node back to the op's name and layer.
#pragma once

#include <cstdint>

#include "profiler/trace_site.h"

namespace vitrine {

/// An op of a captured step. A graph's ops are kept in the order of capture; the stream is single, so the nodes of a
/// replay run in that order too: the first op's nodes, then the second's.
struct CapturedOp {
  const TraceSite* site = nullptr;  ///< lives as long as the model
  int32_t nodes = 0;                ///< kernels, copies and memsets; at least 1
};

}  // namespace vitrine
