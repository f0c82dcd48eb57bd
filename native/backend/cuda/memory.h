// Memory of the device and pinned memory of the host, freed with their objects.
#pragma once

#include <utility>

#include "backend/cuda/launch.h"

namespace vitrine::cuda {

class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(size_t bytes) : bytes_(bytes) { check(cudaMalloc(&data_, bytes), "cudaMalloc"); }
  ~DeviceMemory() { cudaFree(data_); }  // waits for the device
  DeviceMemory(DeviceMemory&& other) noexcept { swap(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    swap(other);
    return *this;
  }

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void swap(DeviceMemory& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  void* data_ = nullptr;
  size_t bytes_ = 0;
};

/// Scratch of an op: grows to the largest size asked for and is used by one op after another on one stream. Growing
/// waits for the device and is not possible within a capture.
class Scratch {
 public:
  void* reserve(size_t bytes) {
    if (bytes > memory_.bytes()) {
      memory_ = DeviceMemory();  // free first: both together may not fit
      memory_ = DeviceMemory(bytes);
    }
    return memory_.data();
  }
  size_t bytes() const { return memory_.bytes(); }

 private:
  DeviceMemory memory_;
};

/// Scratch of ops whose steps may be captured: those have one of their own, which other steps' growth does not move.
/// See StepMemory in backend.h.
class StepScratch {
 public:
  /// `fixed`: whether the current step's memory is that of captured ones.
  explicit StepScratch(const bool& fixed) : fixed_(fixed) {}

  void* reserve(size_t bytes) { return scratch_[fixed_ ? 1 : 0].reserve(bytes); }

 private:
  const bool& fixed_;
  Scratch scratch_[2];
};

class PinnedMemory {
 public:
  explicit PinnedMemory(size_t bytes) : bytes_(bytes) {
    check(cudaHostAlloc(&data_, bytes, cudaHostAllocDefault), "cudaHostAlloc");
  }
  ~PinnedMemory() { cudaFreeHost(data_); }
  PinnedMemory(PinnedMemory&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  char* data() const { return static_cast<char*>(data_); }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace vitrine::cuda
