// What a trace calls a kernel: readable, and short enough to stand in a span.
#pragma once

#include <string>
#include <string_view>

namespace vitrine {

/// The function's name with its template arguments, without its return type and parameters and without the namespaces
/// of this project: "_ZN7vitrine4cuda15rms_norm_kernelI13__nv_bfloat16EEvPKT_" → "rms_norm_kernel<__nv_bfloat16>".
/// What is no mangled name stays as it is.
std::string short_kernel_name(const char* mangled);

}  // namespace vitrine
