// Ranges for NVIDIA's tools (nsys and whatever NVTX_INJECTION64_PATH names), of the calling thread, in the default
// domain.
#pragma once

namespace vitrine::nvtx {

/// Whether a tool listens. A tool is there from the start of the process or never.
bool tool_attached();

/// A few nanoseconds where no tool is attached. Each push needs its pop on the same thread.
void push(const char* text);
void pop();

}  // namespace vitrine::nvtx
