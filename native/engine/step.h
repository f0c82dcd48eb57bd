// One step on its way through the engine: ForwardBatch words in, StepOutput words or an error out. Reused.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vitrine {

struct Step {
  std::vector<int32_t> batch;
  std::vector<int32_t> output;
  std::string error;  ///< not empty: the step failed and `output` means nothing
};

}  // namespace vitrine
