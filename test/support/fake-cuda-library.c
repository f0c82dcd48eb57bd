// A CUDA library for tests, without CUDA: one GPU, or the refusals that the macros ask for. C and C++.
#include "backend/cuda/cuda_api.h"

#include <string.h>

#ifndef FAKE_SYMBOL
#define FAKE_SYMBOL vitrine_cuda_api
#endif
#ifndef FAKE_VERSION
#define FAKE_VERSION VITRINE_CUDA_ABI_VERSION
#endif
#ifndef FAKE_BYTES
#define FAKE_BYTES sizeof(VitrineCudaApi)
#endif
#ifndef FAKE_STATUS
#define FAKE_STATUS VITRINE_CUDA_OK
#endif
#ifndef FAKE_DEVICE_STATUS
#define FAKE_DEVICE_STATUS VITRINE_CUDA_OK
#endif

static const char* last_error(void) { return "the fake says no"; }

static int device_count(int* count) {
  *count = 1;
  return FAKE_STATUS;
}

static int describe_device(int index, VitrineCudaDevice* device) {
  memset(device, 0, sizeof *device);
  device->index = index;
  strcpy(device->name, "Fake GPU");
  device->compute_major = 9;
  device->multiprocessors = 132;
  device->driver_version = 13000;
  device->runtime_version = 12040;
  device->total_bytes = (size_t)1 << 36;
  return FAKE_DEVICE_STATUS;
}

static int refuse_open(int device, int dtype, VitrineCudaContext** context) {
  (void)device, (void)dtype, (void)context;
  return VITRINE_CUDA_ERROR;
}

#ifdef __cplusplus
extern "C"
#endif
    const VitrineCudaApi* FAKE_SYMBOL(void) {
  static VitrineCudaApi api;
  api.abi_version = FAKE_VERSION;
  api.struct_bytes = FAKE_BYTES;
  api.last_error = last_error;
  api.device_count = device_count;
  api.describe_device = describe_device;
  api.open = refuse_open;
  return &api;
}
