// Copies between host and device on one stream, through pinned memory, so that none of them waits unless it must.
#pragma once

#include <vector>

#include "backend/cuda/memory.h"

namespace vitrine::cuda {

class Transfers {
 public:
  explicit Transfers(cudaStream_t stream);
  ~Transfers();
  Transfers(const Transfers&) = delete;
  Transfers& operator=(const Transfers&) = delete;

  /// Queues a copy; `host` may change on return.
  void write(void* device, const void* host, size_t bytes);
  /// Copies to the device, 256-byte aligned, until the next synchronize(); `host` may change on return.
  const void* upload(const void* host, size_t bytes);
  /// Waits for what is queued, then for the copy.
  void read(void* host, const void* device, size_t bytes);
  /// Of uploads.
  size_t device_bytes() const;
  /// Waits for all that is queued; ends the life of uploads.
  void synchronize();

 private:
  /// Pinned memory that copies pass through. `copied`: the last copy out of it (or into it) is done.
  struct Segment {
    PinnedMemory memory;
    cudaEvent_t copied;
  };

  Segment& next_segment();
  void* reserve_upload(size_t bytes);

  cudaStream_t stream_;
  std::vector<Segment> segments_;
  size_t current_ = 0;
  size_t used_ = 0;  ///< of the current segment
  std::vector<DeviceMemory> uploads_;
  size_t upload_used_ = 0;   ///< of the last of uploads_
  size_t upload_total_ = 0;  ///< since the last synchronize()
};

}  // namespace vitrine::cuda
