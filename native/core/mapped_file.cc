// Mapping of weight files.
#include "core/mapped_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/check.h"

#ifndef MADV_POPULATE_READ  // Linux 5.14; older headers do not know it
#define MADV_POPULATE_READ 22
#endif

namespace vitrine {
namespace {

int64_t page_size() {
  static const int64_t size = sysconf(_SC_PAGESIZE);
  return size;
}

}  // namespace

MappedFile::MappedFile(std::string path, int64_t expected_bytes) : path_(std::move(path)), bytes_(expected_bytes) {
  descriptor_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  require(descriptor_ >= 0, "cannot open ", path_, ": ", std::strerror(errno));
  try {
    check_size();
    if (bytes_ == 0) return;
    void* mapping = mmap(nullptr, static_cast<size_t>(bytes_), PROT_READ, MAP_SHARED, descriptor_, 0);
    require(mapping != MAP_FAILED, "cannot map ", path_, ": ", std::strerror(errno));
    data_ = static_cast<char*>(mapping);
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(bytes_));
  if (descriptor_ >= 0) close(descriptor_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      bytes_(other.bytes_),
      descriptor_(std::exchange(other.descriptor_, -1)),
      data_(std::exchange(other.data_, nullptr)) {}

void MappedFile::check_size() const {
  struct stat status;
  require(fstat(descriptor_, &status) == 0, path_, ": ", std::strerror(errno));
  require(S_ISREG(status.st_mode) && status.st_size == bytes_, path_, ": expected a file of ", bytes_,
          " bytes (as when its header was read), got ", S_ISREG(status.st_mode) ? "" : "something else of ",
          status.st_size, " bytes");
}

bool MappedFile::lies_in_memory() const {
  struct statfs system;
  return fstatfs(descriptor_, &system) == 0 && (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC);
}

const void* MappedFile::fetch(int64_t offset, int64_t length) const {
  check_size();
  const int64_t start = offset / page_size() * page_size();
  if (madvise(data_ + start, static_cast<size_t>(offset + length - start), MADV_POPULATE_READ) != 0 &&
      (errno == EFAULT || errno == EIO)) {
    fail(path_, ": bytes ", offset, " to ", offset + length, " cannot be read: ", std::strerror(errno));
  }
  return data_ + offset;
}

void MappedFile::release(int64_t offset, int64_t length) const {
  const int64_t start = (offset + page_size() - 1) / page_size() * page_size();
  const int64_t end = (offset + length) / page_size() * page_size();
  if (end > start) madvise(data_ + start, static_cast<size_t>(end - start), MADV_DONTNEED);
}

}  // namespace vitrine
