// Reads /proc/meminfo, /proc/self and the cgroup files.
#include "core/memory_probe.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>

namespace vitrine {
namespace {

constexpr size_t kUnlimited = std::numeric_limits<size_t>::max();

/// Where a cgroup version keeps its numbers.
struct CgroupFiles {
  std::string mount;
  std::string_view limit;
  std::string_view usage;
  std::string_view reclaimable;  ///< key in memory.stat
};

/// The number in a file; nullopt for "max" or when there is no such file.
std::optional<size_t> read_number(const std::string& path) {
  std::ifstream file(path);
  size_t number = 0;
  if (file >> number) return number;
  return std::nullopt;
}

size_t read_keyed(const std::string& path, std::string_view wanted) {
  std::ifstream file(path);
  std::string key;
  size_t number = 0;
  while (file >> key >> number) {
    if (key == wanted) return number;
  }
  return 0;
}

}  // namespace

size_t MemoryProbe::total_bytes() const { return std::min(meminfo("MemTotal:"), cgroup_room(0).limit); }

size_t MemoryProbe::available_bytes(size_t kept_file_bytes) const {
  const size_t available = meminfo("MemAvailable:");
  return std::min(available - std::min(available, kept_file_bytes), cgroup_room(kept_file_bytes).left);
}

size_t MemoryProbe::resident_bytes() const {
  std::ifstream file(root_ + "/proc/self/statm");
  size_t virtual_pages = 0;
  size_t resident_pages = 0;
  file >> virtual_pages >> resident_pages;
  return resident_pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

size_t MemoryProbe::meminfo(const std::string& key) const {
  std::ifstream file(root_ + "/proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name;
    size_t kib = 0;
    if (words >> name >> kib && name == key) return kib * 1024;
  }
  return 0;
}

MemoryProbe::CgroupRoom MemoryProbe::cgroup_room(size_t kept_file_bytes) const {
  CgroupRoom room{kUnlimited, kUnlimited};
  std::ifstream memberships(root_ + "/proc/self/cgroup");  // lines "hierarchy:controllers:path"
  std::string line;
  while (std::getline(memberships, line)) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    std::string path = line.substr(second + 1);
    CgroupFiles files;
    if (controllers == ",,") {
      files = {root_ + "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"};
    } else if (controllers.find(",memory,") != std::string::npos) {
      files = {root_ + "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
               "total_inactive_file"};
    } else {
      continue;
    }
    // Each ancestor may set a limit. Inside a container the path may be the host's: what is not there is skipped, the
    // mount itself is the container's own group.
    while (true) {
      const std::string group = files.mount + (path == "/" ? "" : path) + "/";
      if (const auto limit = read_number(group + std::string(files.limit))) {
        const size_t usage = read_number(group + std::string(files.usage)).value_or(0);
        // The kept pages may be among these or not: another group may have brought them in, or they are active.
        const size_t inactive = read_keyed(group + "memory.stat", files.reclaimable);
        const size_t reclaimable = inactive - std::min(inactive, kept_file_bytes);
        const size_t used = usage - std::min(usage, reclaimable);
        room.limit = std::min(room.limit, *limit);
        room.left = std::min(room.left, *limit - std::min(*limit, used));
      }
      if (path.empty() || path == "/") break;
      path.resize(path.rfind('/'));
    }
  }
  return room;
}

}  // namespace vitrine
