// Memory limits as the kernel's files state them, read from a made-up file system.
#include "core/memory_probe.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "test_framework.h"

namespace vitrine::test {
namespace {

class FakeRoot {
 public:
  FakeRoot() {
    std::string pattern = (std::filesystem::temp_directory_path() / "vitrine-root-XXXXXX").string();
    root_ = mkdtemp(pattern.data());
    write("/proc/meminfo", "MemTotal:  1000 kB\nMemFree: 10 kB\nMemAvailable:  600 kB\n");
  }
  ~FakeRoot() { std::filesystem::remove_all(root_); }
  FakeRoot(const FakeRoot&) = delete;
  FakeRoot& operator=(const FakeRoot&) = delete;

  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  MemoryProbe probe() const { return MemoryProbe(root_); }

 private:
  std::string root_;
};

constexpr size_t kKiB = 1024;

}  // namespace

TEST("memory_probe: without cgroups the machine's numbers count") {
  const FakeRoot root;
  CHECK_EQ(root.probe().total_bytes(), 1000 * kKiB);
  CHECK_EQ(root.probe().available_bytes(), 600 * kKiB);
  CHECK_EQ(root.probe().available_bytes(250 * kKiB), 350 * kKiB);
  CHECK_EQ(root.probe().available_bytes(700 * kKiB), size_t{0});
}

TEST("memory_probe: cgroup v2, the tightest ancestor, file cache is free") {
  FakeRoot root;
  root.write("/proc/self/cgroup", "0::/a/b\n");
  root.write("/sys/fs/cgroup/a/b/memory.max", "max\n");
  root.write("/sys/fs/cgroup/a/b/memory.current", "1\n");
  root.write("/sys/fs/cgroup/a/memory.max", std::to_string(300 * kKiB) + "\n");
  root.write("/sys/fs/cgroup/a/memory.current", std::to_string(200 * kKiB) + "\n");
  root.write("/sys/fs/cgroup/a/memory.stat",
             "anon 5\ninactive_file " + std::to_string(50 * kKiB) + "\nactive_file 7\n");
  CHECK_EQ(root.probe().total_bytes(), 300 * kKiB);
  CHECK_EQ(root.probe().available_bytes(), 150 * kKiB);
  CHECK_EQ(root.probe().available_bytes(20 * kKiB), 130 * kKiB);
  CHECK_EQ(root.probe().available_bytes(70 * kKiB), 100 * kKiB);  // not all of them can be among the 50
}

TEST("memory_probe: in a container the path may be the host's") {
  FakeRoot root;
  root.write("/proc/self/cgroup", "0::/docker/0123\n");
  root.write("/sys/fs/cgroup/memory.max", std::to_string(100 * kKiB) + "\n");
  root.write("/sys/fs/cgroup/memory.current", std::to_string(120 * kKiB) + "\n");
  CHECK_EQ(root.probe().total_bytes(), 100 * kKiB);
  CHECK_EQ(root.probe().available_bytes(), size_t{0});
}

TEST("memory_probe: cgroup v1") {
  FakeRoot root;
  root.write("/proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/y\n0::/\n");
  root.write("/sys/fs/cgroup/memory/y/memory.limit_in_bytes", std::to_string(400 * kKiB) + "\n");
  root.write("/sys/fs/cgroup/memory/y/memory.usage_in_bytes", std::to_string(100 * kKiB) + "\n");
  root.write("/sys/fs/cgroup/memory/y/memory.stat",
             "inactive_file 1\ntotal_inactive_file " + std::to_string(10 * kKiB) + "\n");
  root.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  root.write("/sys/fs/cgroup/memory/memory.usage_in_bytes", "0\n");
  CHECK_EQ(root.probe().total_bytes(), 400 * kKiB);
  CHECK_EQ(root.probe().available_bytes(), 310 * kKiB);
}

TEST("memory_probe: this process has resident memory") {
  const MemoryProbe probe;
  CHECK(probe.resident_bytes() > 100 * kKiB);
  CHECK(probe.resident_bytes() < probe.total_bytes());
  CHECK(probe.available_bytes() <= probe.total_bytes());
}

}  // namespace vitrine::test
