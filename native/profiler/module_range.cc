// Python's repr() of names, lists and dicts; module names need no escapes.
#include "profiler/module_range.h"

namespace vitrine {

std::string module_range_head(std::string_view module, const std::vector<ModuleParameter>& parameters) {
  std::string text = "{'Module': '";
  text.append(module).append("'");
  if (parameters.empty()) return text;
  text += ", 'TrainableParams': {";
  for (size_t i = 0; i < parameters.size(); ++i) {
    text.append(i == 0 ? "'" : ", '").append(parameters[i].name).append("': [");
    const std::vector<int64_t>& shape = parameters[i].shape;
    for (size_t j = 0; j < shape.size(); ++j) text.append(j == 0 ? "" : ", ").append(std::to_string(shape[j]));
    text += "]";
  }
  text += "}";
  return text;
}

void write_module_range(const std::string& head, std::initializer_list<TraceShape> inputs, std::string& text) {
  text = head;
  bool any = false;
  for (const TraceShape& shape : inputs) {
    if (shape.rows < 0) continue;
    text += any ? ", [" : ", 'Inputs': [[";
    any = true;
    text += std::to_string(shape.rows);
    if (shape.cols >= 0) text += ", " + std::to_string(shape.cols);
    text += "]";
  }
  text += any ? "]}" : "}";
}

}  // namespace vitrine
