// The only file that sees NVTX's headers: each module with them has its own state, and the tool is told of it once.
#include "profiler/nvtx.h"

#include <nvtx3/nvToolsExt.h>

namespace vitrine::nvtx {

bool tool_attached() {
  // After initialization NVTX's pointer to what a tool does with a push is null where there is no tool. There is no
  // public call that says so.
  static const bool attached = [] {
    nvtxInitialize(nullptr);
    return NVTX_VERSIONED_IDENTIFIER(nvtxGlobals).nvtxRangePushA_impl_fnptr != nullptr;
  }();
  return attached;
}

void push(const char* text) { nvtxRangePushA(text); }

void pop() { nvtxRangePop(); }

}  // namespace vitrine::nvtx
