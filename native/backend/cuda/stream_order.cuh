// Programmatic dependent launch: the blocks of a kernel may start while the kernel before it on the stream is still
// running, so that its launch, and what it reads of the weights, falls together with that one's end. See
// launch_kernel(). What other kernels write may not be read as if it never changed (const __restrict__, __ldg): such
// loads may be moved before the wait.
#pragma once

namespace vitrine::cuda {

/// At the beginning of every kernel, before it reads what another kernel wrote or writes anything: the kernel before it
/// on the stream, and so all before that one, are done. Then lets the next kernel's blocks start.
__device__ inline void wait_for_earlier_kernels() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace vitrine::cuda
