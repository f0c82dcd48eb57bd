// A file mapped read-only into memory, whose pages are given back piece by piece once they have been read.
#pragma once

#include <cstdint>
#include <string>

namespace vitrine {

class MappedFile {
 public:
  /// Throws Error naming the file when it cannot be mapped or is not `expected_bytes` long.
  MappedFile(std::string path, int64_t expected_bytes);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  int64_t bytes() const { return bytes_; }
  const void* data() const { return data_; }
  /// Of tmpfs or ramfs: its pages are in memory as long as the file is there.
  bool lies_in_memory() const;

  /// Brings a range into memory and returns it. Throws Error where a plain read of the mapping would kill the process:
  /// the file was truncated, or its device fails.
  const void* fetch(int64_t offset, int64_t length) const;
  /// The range will not be read again: its pages leave this process (the system may keep them in its file cache).
  void release(int64_t offset, int64_t length) const;

 private:
  void check_size() const;

  std::string path_;
  int64_t bytes_ = 0;
  int descriptor_ = -1;
  char* data_ = nullptr;
};

}  // namespace vitrine
