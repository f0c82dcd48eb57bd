// One step on its way through the engine: ForwardBatch words in, StepOutput words or an error out. Reused.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "profiler/span_record.h"

namespace vitrine {

struct Step {
  std::vector<int32_t> batch;
  std::vector<int32_t> output;
  std::vector<SpanRecord> spans;  ///< a chunk as profiler/ lays it out; empty when the batch did not ask for it
  std::string error;              ///< not empty: the step failed and `output` means nothing
};

}  // namespace vitrine
