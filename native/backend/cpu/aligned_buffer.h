// Zeroed memory on cache-line boundaries; large buffers ask for huge pages.
#pragma once

#include <cstddef>

#include "backend/backend.h"

namespace vitrine {

class AlignedBuffer final : public DeviceBuffer {
 public:
  AlignedBuffer() = default;
  /// Throws Error when the system gives no memory. 0 bytes: data() is null.
  explicit AlignedBuffer(size_t bytes);
  ~AlignedBuffer() override;
  AlignedBuffer(AlignedBuffer&& other) noexcept;
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept;

  void* data() const override { return data_; }
  size_t bytes() const override { return bytes_; }

  /// Room for at least `bytes`; what was in it is lost when it has to grow.
  void* reserve(size_t bytes);

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

/// Backend::prefault for any memory of this process.
bool prefault(void* data, size_t bytes);

}  // namespace vitrine
