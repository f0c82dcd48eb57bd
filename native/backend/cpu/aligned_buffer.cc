// Small buffers come from the C library, large ones from mmap.
#include "backend/cpu/aligned_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/check.h"

namespace vitrine {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kMapFrom = size_t{4} << 20;

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14; older kernels refuse it
#endif

bool is_mapped(size_t bytes) { return bytes >= kMapFrom; }

}  // namespace

AlignedBuffer::AlignedBuffer(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  if (is_mapped(bytes)) {
    data_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data_ == MAP_FAILED) {
      data_ = nullptr;
      fail("cannot allocate ", bytes, " bytes");
    }
    madvise(data_, bytes, MADV_HUGEPAGE);
    return;
  }
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  data_ = std::aligned_alloc(kAlignment, rounded);
  require(data_ != nullptr, "cannot allocate ", bytes, " bytes");
  std::memset(data_, 0, rounded);
}

AlignedBuffer::~AlignedBuffer() {
  if (is_mapped(bytes_)) {
    munmap(data_, bytes_);
  } else {
    std::free(data_);
  }
}

AlignedBuffer::AlignedBuffer(AlignedBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

AlignedBuffer& AlignedBuffer::operator=(AlignedBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void* AlignedBuffer::reserve(size_t bytes) {
  if (bytes > bytes_) {
    *this = AlignedBuffer();  // give the old one back first
    *this = AlignedBuffer(bytes + bytes / 4);
  }
  return data_;
}

bool prefault(void* data, size_t bytes) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t first = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
  return end <= first || madvise(reinterpret_cast<void*>(first), end - first, MADV_POPULATE_WRITE) == 0;
}

}  // namespace vitrine
