// Mapping of weight files.
#include "core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
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
  const int descriptor = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  require(descriptor >= 0, "cannot open ", path_, ": ", std::strerror(errno));
  struct stat status;
  const bool known = fstat(descriptor, &status) == 0;
  if (!known || status.st_size != expected_bytes) {
    close(descriptor);
    fail(path_, ": expected ", expected_bytes, " bytes (as when its header was read), got ",
         known ? static_cast<int64_t>(status.st_size) : int64_t{-1});
  }
  if (bytes_ > 0) {
    void* mapping = mmap(nullptr, static_cast<size_t>(bytes_), PROT_READ, MAP_PRIVATE, descriptor, 0);
    const int reason = errno;
    close(descriptor);
    require(mapping != MAP_FAILED, "cannot map ", path_, ": ", std::strerror(reason));
    data_ = static_cast<char*>(mapping);
  } else {
    close(descriptor);
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(bytes_));
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(other.bytes_), data_(std::exchange(other.data_, nullptr)) {}

const void* MappedFile::fetch(int64_t offset, int64_t length) const {
  const int64_t start = offset / page_size() * page_size();
  if (madvise(data_ + start, static_cast<size_t>(offset + length - start), MADV_POPULATE_READ) != 0 &&
      (errno == EFAULT || errno == EIO)) {
    fail(path_, ": bytes ", offset, " to ", offset + length, " cannot be read; was the file truncated?");
  }
  return data_ + offset;
}

void MappedFile::release(int64_t offset, int64_t length) const {
  const int64_t start = (offset + page_size() - 1) / page_size() * page_size();
  const int64_t end = (offset + length) / page_size() * page_size();
  if (end > start) madvise(data_ + start, static_cast<size_t>(end - start), MADV_DONTNEED);
}

}  // namespace vitrine
