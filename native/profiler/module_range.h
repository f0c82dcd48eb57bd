// The text of a module's NVTX range in SGLang's dialect, the repr() of a Python dict:
//   {'Module': 'model.model.norm', 'TrainableParams': {'weight': [4096]}, 'Inputs': [[8, 4096], [8, 4096]]}
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "profiler/trace_site.h"

namespace vitrine {

struct ModuleParameter {
  std::string_view name;
  std::vector<int64_t> shape;
};

/// The text up to the inputs, which differ from step to step: without the closing brace.
std::string module_range_head(std::string_view module, const std::vector<ModuleParameter>& parameters);

/// Makes `text` the whole range; no inputs, no such key.
void write_module_range(const std::string& head, std::initializer_list<TraceShape> inputs, std::string& text);

}  // namespace vitrine
