// Which processors the threads of a pool are pinned to: those with the fewest pinned threads of other engines. Two
// engines that both began with the first processor would share it and leave others idle.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace vitrine {

/// Names of pinned threads in /proc/PID/task/TID/comm: the thread that runs steps, and the start of a worker's.
inline constexpr const char* kEngineThreadName = "vitrine-engine";
inline constexpr const char* kWorkerThreadName = "vitrine-cpu";

/// By processor, the threads of engines (of any process that can be seen) that are pinned to it. The thread that runs
/// the steps counts twice: it also works where its workers wait. `proc` is where the proc file system is mounted.
std::map<int, int> pinned_engine_threads(const std::string& proc = "/proc");

/// The same processors, those with the smallest load first; of equal ones in the order in which they came.
std::vector<int> least_loaded_first(std::vector<int> processors, const std::map<int, int>& load);

/// While it lives, no other engine on this machine chooses processors: two that start at once would see neither. Best
/// effort: after a while it goes on without.
class PlacementLock {
 public:
  PlacementLock();
  ~PlacementLock();
  PlacementLock(const PlacementLock&) = delete;
  PlacementLock& operator=(const PlacementLock&) = delete;

  /// No other engine chooses; false: it went on without.
  bool held() const { return held_; }

 private:
  int file_ = -1;
  bool held_ = false;
};

}  // namespace vitrine
