// Reads sched_getaffinity and the control-group files.
#include "core/processors.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

namespace vitrine {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// quota / period of one folder, or infinity.
double quota_of(const std::string& folder, bool unified) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  double quota = -1;
  double period = 0;
  if (unified) {
    std::istringstream text(read_text(folder + "/cpu.max"));
    if (!(text >> quota >> period)) return kNone;  // "max 100000" does not parse as a number either
  } else {
    std::istringstream quota_text(read_text(folder + "/cpu.cfs_quota_us"));
    std::istringstream period_text(read_text(folder + "/cpu.cfs_period_us"));
    if (!(quota_text >> quota) || !(period_text >> period)) return kNone;
  }
  return quota > 0 && period > 0 ? quota / period : kNone;
}

/// The tightest quota from `path` up to the mount's root. In a container the path may not exist below the mount: then
/// only its root counts, which is the container's own group.
double tightest_quota(const std::string& root, std::string path, bool unified) {
  double tightest = std::numeric_limits<double>::infinity();
  while (true) {
    tightest = std::min(tightest, quota_of(root + path, unified));
    const size_t slash = path.find_last_of('/');
    if (path.empty() || slash == std::string::npos) return tightest;
    path.resize(slash);
  }
}

bool has_cpu_controller(const std::string& controllers) {
  std::istringstream list(controllers);
  for (std::string name; std::getline(list, name, ',');) {
    if (name == "cpu") return true;
  }
  return false;
}

}  // namespace

std::vector<int> allowed_processors() {
  // A fixed cpu_set_t holds 1024 processors; larger machines answer EINVAL until the set is large enough.
  for (size_t count = 1024; count <= (size_t{1} << 20); count *= 4) {
    cpu_set_t* set = CPU_ALLOC(count);
    const size_t bytes = CPU_ALLOC_SIZE(count);
    CPU_ZERO_S(bytes, set);
    std::vector<int> processors;
    if (sched_getaffinity(getpid(), bytes, set) == 0) {
      for (size_t cpu = 0; cpu < count; ++cpu) {
        if (CPU_ISSET_S(cpu, bytes, set)) processors.push_back(static_cast<int>(cpu));
      }
    }
    CPU_FREE(set);
    if (!processors.empty()) return processors;
  }
  return {0};
}

int cgroup_cpu_limit(const std::string& proc_cgroup, const std::string& mount) {
  double tightest = std::numeric_limits<double>::infinity();
  std::istringstream lines(proc_cgroup);
  for (std::string line; std::getline(lines, line);) {  // hierarchy:controllers:path
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path == "/") path.clear();
    if (controllers.empty()) {
      tightest = std::min(tightest, tightest_quota(mount, path, true));
    } else if (has_cpu_controller(controllers)) {
      tightest = std::min(tightest, tightest_quota(mount + "/" + controllers, path, false));
      tightest = std::min(tightest, tightest_quota(mount + "/cpu", path, false));
    }
  }
  if (tightest == std::numeric_limits<double>::infinity()) return 0;
  return static_cast<int>(std::clamp(tightest, 1.0, 1e6));
}

int usable_processor_count() {
  const int processors = static_cast<int>(allowed_processors().size());
  const int quota = cgroup_cpu_limit(read_text("/proc/self/cgroup"), "/sys/fs/cgroup");
  return quota > 0 ? std::min(processors, quota) : processors;
}

}  // namespace vitrine
