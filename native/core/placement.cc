// Reads /proc, and locks a file that every process sees and may read.
#include "core/placement.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>
#include <thread>

namespace vitrine {
namespace {

constexpr int kEngineLoad = 2;
constexpr int kWorkerLoad = 1;
constexpr auto kLockPatience = std::chrono::milliseconds(500);
constexpr auto kLockRetry = std::chrono::milliseconds(5);

/// 0: no thread of an engine.
int load_of(const std::filesystem::path& task) {
  std::string name;
  std::ifstream file(task / "comm");
  std::getline(file, name);
  if (name == kEngineThreadName) return kEngineLoad;
  return name.starts_with(kWorkerThreadName) ? kWorkerLoad : 0;
}

/// The only processor that the thread may use, or -1.
int pinned_to(const std::filesystem::path& task) {
  constexpr std::string_view kField = "Cpus_allowed_list:\t";
  std::ifstream file(task / "status");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(kField)) continue;
    int processor = -1;
    const char* end = line.data() + line.size();
    const auto [at, error] = std::from_chars(line.data() + kField.size(), end, processor);
    return error == std::errc() && at == end ? processor : -1;  // lists have more: 0-3, 0,2
  }
  return -1;
}

bool is_number(const std::string& name) { return name.find_first_not_of("0123456789") == std::string::npos; }

/// Calls `visit` for each folder in `parent` that is named by a number. Processes and threads end meanwhile.
template <class Visit>
void for_each_id(const std::filesystem::path& parent, Visit visit) {
  std::error_code error;
  std::filesystem::directory_iterator entry(parent, error);
  for (const std::filesystem::directory_iterator end; !error && entry != end; entry.increment(error)) {
    if (is_number(entry->path().filename().string())) visit(entry->path());
  }
}

}  // namespace

std::map<int, int> pinned_engine_threads(const std::string& proc) {
  std::map<int, int> load;
  for_each_id(proc, [&](const std::filesystem::path& process) {
    for_each_id(process / "task", [&](const std::filesystem::path& task) {
      const int own = load_of(task);
      const int processor = own > 0 ? pinned_to(task) : -1;
      if (processor >= 0) load[processor] += own;
    });
  });
  return load;
}

std::vector<int> least_loaded_first(std::vector<int> processors, const std::map<int, int>& load) {
  const auto of = [&](int processor) {
    const auto found = load.find(processor);
    return found == load.end() ? 0 : found->second;
  };
  std::stable_sort(processors.begin(), processors.end(), [&](int a, int b) { return of(a) < of(b); });
  return processors;
}

PlacementLock::PlacementLock() : file_(open("/sys/devices/system/cpu/online", O_RDONLY | O_CLOEXEC)) {
  if (file_ < 0) return;
  const auto give_up = std::chrono::steady_clock::now() + kLockPatience;
  while (!(held_ = flock(file_, LOCK_EX | LOCK_NB) == 0) && std::chrono::steady_clock::now() < give_up) {
    std::this_thread::sleep_for(kLockRetry);
  }
}

PlacementLock::~PlacementLock() {
  if (file_ >= 0) close(file_);
}

}  // namespace vitrine
