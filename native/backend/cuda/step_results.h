// What a step's kernels have for the host: gathered in device memory and read by one copy at the step's end, which is
// waited for when the host wants it. Engine thread.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <vector>

#include "backend/cuda/staging_buffer.h"

namespace vitrine::cuda {

class StepResults {
 public:
  /// Gets the bytes on the host. May throw what they say is wrong.
  using Reader = std::function<void(const char* host)>;

  explicit StepResults(cudaStream_t stream);

  /// A new step; what the last one has was read by end(), or is of no use.
  void begin();
  /// Device memory of the step, 64-byte aligned, to be filled by its ops.
  void* reserve(size_t bytes, Reader reader);
  /// Queues the copy.
  void end();
  /// Has room for so many bytes a step, while none is being gathered.
  void make_room(size_t bytes);
  size_t device_bytes() const;

  /// Whether the oldest unfinished step's copy is done, or will never be: finish() says why.
  bool done() const;
  /// Waits for the oldest unfinished step and calls its readers.
  void finish();
  /// Calls all readers, though one throws, and rethrows the first one's error.
  void finish_all();

 private:
  struct Result {
    size_t offset;  ///< in the step's bytes
    Reader reader;
  };
  /// Device memory of the step that is being queued; more than one only when it has grown.
  struct Piece {
    DeviceMemory memory;
    size_t used = 0;
  };
  struct Unfinished {
    size_t target;
    std::vector<Result> results;
  };

  cudaStream_t stream_;
  std::vector<Piece> pieces_;
  std::vector<Result> results_;
  size_t total_ = 0;
  std::vector<StagingBuffer> targets_;
  size_t next_target_ = 0;
  std::deque<Unfinished> unfinished_;  ///< oldest first
};

}  // namespace vitrine::cuda
