// What fake_cupti.so offers a test beside CUPTI's own functions; to be found by dlsym().
#pragma once

#include <cstdint>

#include "backend/cuda/cupti.h"

extern "C" {
/// `result` is what cuptiActivityEnable says from its call number `after` (from 0) on; 0: all is well again.
void fake_cupti_refuse(vitrine::cuda::cupti::Result result, int after);
/// The clock that was registered.
uint64_t fake_cupti_now();
/// One bit a kind.
uint64_t fake_cupti_enabled_kinds();
/// How often a kind of work was enabled before the calls that queue it.
uint64_t fake_cupti_work_before_calls();
/// Tell of something, if its kind is enabled. A record that ends at 0 is not complete.
void fake_cupti_kernel(const vitrine::cuda::cupti::KernelRecord* record);
void fake_cupti_memcpy(const vitrine::cuda::cupti::MemcpyRecord* record);
void fake_cupti_memset(const vitrine::cuda::cupti::MemsetRecord* record);
void fake_cupti_call(const vitrine::cuda::cupti::CallRecord* record);
void fake_cupti_synchronization(const vitrine::cuda::cupti::SynchronizationRecord* record);
}
