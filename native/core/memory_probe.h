// What memory this machine has and this process may still take, cgroup limits (v1 and v2) included.
#pragma once

#include <cstddef>
#include <string>

namespace vitrine {

class MemoryProbe {
 public:
  /// `root` is put before /proc and /sys: tests point it at a folder of their own.
  explicit MemoryProbe(std::string root = "") : root_(std::move(root)) {}

  /// The smaller of the machine's memory and the tightest cgroup limit.
  size_t total_bytes() const;
  /// The smaller of the machine's available memory and what the tightest cgroup leaves; file cache that can be dropped
  /// counts as available, but for `kept_file_bytes` of it, which this process needs.
  size_t available_bytes(size_t kept_file_bytes = 0) const;
  /// Resident memory of this process.
  size_t resident_bytes() const;

 private:
  struct CgroupRoom {
    size_t limit;
    size_t left;
  };
  CgroupRoom cgroup_room(size_t kept_file_bytes) const;
  size_t meminfo(const std::string& key) const;

  std::string root_;
};

}  // namespace vitrine
