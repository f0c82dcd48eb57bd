// The KV cache's pages come before steps need them, and no more of them than that.
#include "cache/kv_prefaulter.h"

#include <sys/mman.h>
#include <unistd.h>

#include <vector>

#include "backend/cpu/aligned_buffer.h"
#include "backend/cpu/cpu_backend.h"
#include "core/check.h"
#include "staged_backend.h"
#include "test_framework.h"

namespace vitrine::test {
namespace {

constexpr int32_t kLayers = 2;
constexpr int32_t kBlockSize = 16;
constexpr int64_t kMiB = int64_t{1} << 20;

/// K and V of each layer: 128 MiB; 1 KiB a slot.
KvLayer shape() { return {nullptr, nullptr, DType::kBFloat16, 8192, kBlockSize, 4, 128}; }

bool is_resident(const void* region, int64_t offset) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t address = (reinterpret_cast<uintptr_t>(region) + static_cast<uintptr_t>(offset)) / page * page;
  unsigned char resident = 0;
  require(mincore(reinterpret_cast<void*>(address), 1, &resident) == 0, "mincore failed");
  return (resident & 1) != 0;
}

void check_all(const PagedKvCache& cache, int64_t offset, bool expected) {
  for (int32_t i = 0; i < kLayers; ++i) {
    CHECK_EQ(is_resident(cache.layer(i).k, offset), expected);
    CHECK_EQ(is_resident(cache.layer(i).v, offset), expected);
  }
}

bool kernel_can() {
  std::vector<char> memory(65536);
  return prefault(memory.data(), memory.size());
}

}  // namespace

TEST("kv_prefaulter: stays ahead of the slots in use, in every layer, and goes no further") {
  ThreadPool pool(2);
  const auto backend = make_cpu_backend(best_cpu_isa(supported_cpu_isas()), pool);
  const PagedKvCache cache(*backend, std::vector<KvLayer>(kLayers, shape()));
  KvPrefaulter prefaulter(cache, *backend, pool, 32768);
  CHECK(!prefaulter.advance());  // nothing before the first step
  check_all(cache, kMiB, false);
  prefaulter.step_uses(std::vector<int32_t>{0});
  if (!kernel_can()) {
    CHECK(!prefaulter.advance());
    SKIP("this kernel has no MADV_POPULATE_WRITE");
  }
  while (prefaulter.advance()) {
  }
  check_all(cache, kMiB, true);
  check_all(cache, 31 * kMiB, true);
  check_all(cache, 64 * kMiB, false);

  prefaulter.step_uses(std::vector<int32_t>{40 * 1024, 7});
  CHECK(prefaulter.advance());  // one piece a thread: a step never waits long
  check_all(cache, 64 * kMiB, false);
  while (prefaulter.advance()) {
  }
  check_all(cache, 71 * kMiB, true);
  check_all(cache, 100 * kMiB, false);

  prefaulter.step_uses(std::vector<int32_t>{120 * 1024});
  while (prefaulter.advance()) {
  }
  check_all(cache, 128 * kMiB - 1, true);
}

TEST("kv_prefaulter: does nothing for a device that has its memory at once") {
  ThreadPool pool(1);
  const auto host = make_cpu_backend(best_cpu_isa(supported_cpu_isas()), pool);
  const auto backend = make_staged_backend(*host);
  KvLayer small = shape();
  small.num_blocks = 4;
  const PagedKvCache cache(*backend, std::vector<KvLayer>(kLayers, small));
  KvPrefaulter prefaulter(cache, *backend, pool, 512);
  prefaulter.step_uses(std::vector<int32_t>{0});
  CHECK(!prefaulter.advance());
}

}  // namespace vitrine::test
