// cudaProfilerStart and cudaProfilerStop, which open and close the capture range of a tool such as nsys. The CUDA
// runtime is loaded at the first call, so that the addon runs where there is none.
#pragma once

namespace vitrine {

/// Throw Error with the reason: no CUDA runtime library, no driver, no device.
void cuda_profiler_start();
void cuda_profiler_stop();

}  // namespace vitrine
