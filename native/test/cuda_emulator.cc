#include "cuda_emulator.h"

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

namespace vitrine::cuda_emulator {
namespace {

constexpr size_t kStackBytes = 256 * 1024;
constexpr size_t kGuardBytes = 256;
constexpr size_t kSharedAlignment = 1024;
constexpr size_t kGranuleBytes = 16;  ///< what cp.async writes at once
constexpr unsigned kWarpLanes = 32;
constexpr uint64_t kBarrierMark = 0xba331e4;  ///< what an mbarrier holds in memory

struct Fiber;

struct PendingCopy {
  void* to;
  const void* from;
  size_t bytes;
  bool valid;
  const Fiber* thread;
};

/// Threads that wait for each other: a block, a warp, an mbarrier's. `round` is the number of phases that have ended.
struct Meeting {
  unsigned size = 0, arrived = 0;
  uint64_t round = 0;
};

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  ThreadState state;
  bool done = false;
  const Meeting* waits_for = nullptr;
  uint64_t round = 0;
  std::vector<std::vector<PendingCopy>> groups;
  std::vector<PendingCopy> open;
  /// Copies that nobody waits for by their group, and the barrier that they arrive at.
  struct Arrival {
    std::vector<PendingCopy> copies;
    Meeting* barrier;
  };
  std::deque<Arrival> arrivals;
  uint64_t fenced_at = 0;  ///< its last proxy fence
};

/// A warp's product, from its issue on.
struct IssuedProduct {
  std::array<Product, kWarpLanes> lanes;
  std::array<uint64_t, kWarpLanes> fenced_at;
};

struct Warp {
  Meeting meeting;
  alignas(16) char slots[kWarpLanes][64];
  std::deque<std::vector<IssuedProduct>> product_groups;
  std::vector<IssuedProduct> open_products;
  bool products_fenced = false;
};

/// The last cp.async to write a granule of shared memory.
struct AsyncWrite {
  uint64_t at = 0;
  const Fiber* thread = nullptr;
};

std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Warp> warps;
Meeting block_meeting;
std::map<const uint64_t*, Meeting> barriers;
std::array<Meeting, 16> named_barriers;
std::vector<char> shared_storage;
char* shared_begin = nullptr;
size_t shared_size = 0;
std::vector<AsyncWrite> async_writes;  ///< of each granule
uint64_t now = 0;                      ///< counts copies and fences
ucontext_t scheduler;
Fiber* running = nullptr;
const std::function<void()>* body = nullptr;
std::exception_ptr error;
std::mt19937 randomness;

bool in_dynamic_shared(const void* address) {
  const auto* const at = static_cast<const char*>(address);
  return at >= shared_begin && at < shared_begin + shared_size;
}

void run_copy(const PendingCopy& copy) {
  if (copy.valid) {
    std::memcpy(copy.to, copy.from, copy.bytes);
  } else {
    std::memset(copy.to, 0, copy.bytes);
  }
  if (!in_dynamic_shared(copy.to)) return;
  const size_t first = shared_address(copy.to) / kGranuleBytes;
  for (size_t i = 0; i < copy.bytes / kGranuleBytes; ++i) async_writes[first + i] = {++now, copy.thread};
}

void arrive(Meeting& meeting) {
  if (++meeting.arrived < meeting.size) return;
  meeting.arrived = 0;
  ++meeting.round;
}

void wait_for_round(const Meeting& meeting) {
  running->waits_for = &meeting;
  running->round = meeting.round;
  swapcontext(&running->context, &scheduler);
}

/// False: the fiber has none.
bool run_arrival(Fiber& fiber) {
  if (fiber.arrivals.empty()) return false;
  const Fiber::Arrival arrival = std::move(fiber.arrivals.front());
  fiber.arrivals.pop_front();
  std::for_each(arrival.copies.begin(), arrival.copies.end(), run_copy);
  arrive(*arrival.barrier);
  return true;
}

void entry() {
  try {
    (*body)();
    while (run_arrival(*running)) {
    }
    for (const auto& group : running->groups) std::for_each(group.begin(), group.end(), run_copy);
    std::for_each(running->open.begin(), running->open.end(), run_copy);
  } catch (...) {
    error = std::current_exception();
  }
  running->done = true;
  swapcontext(&running->context, &scheduler);
}

void meet(Meeting& meeting, const std::function<void()>& action) {
  if (++meeting.arrived == meeting.size) {
    meeting.arrived = 0;
    if (action) action();
    ++meeting.round;
    return;
  }
  wait_for_round(meeting);
}

Meeting& meeting_of(const uint64_t* barrier) {
  const auto found = barriers.find(barrier);
  if (found == barriers.end()) throw std::runtime_error("an mbarrier was used before its init");
  if (*barrier != kBarrierMark) throw std::runtime_error("an mbarrier was overwritten");
  return found->second;
}

/// A 16-bit element of an operand in shared memory.
uint16_t read_operand(uint32_t address, const IssuedProduct& product) {
  if (address + sizeof(uint16_t) > shared_size) throw std::runtime_error("a product read past shared memory");
  const AsyncWrite& write = async_writes[address / kGranuleBytes];
  const bool fenced =
      write.thread == nullptr || write.thread->fenced_at > write.at ||
      std::all_of(product.fenced_at.begin(), product.fenced_at.end(), [&](uint64_t fence) { return fence > write.at; });
  if (!fenced) throw std::runtime_error("a product read what cp.async wrote without a proxy fence");
  uint16_t bits;
  std::memcpy(&bits, shared_begin + address, sizeof bits);
  return bits;
}

/// Address of the element at `k` of row `row` of A, or of column `row` of B: PTX ISA, "Asynchronous warpgroup level
/// matrix shared memory layout", in the notation of CUTLASS' canonical layouts (mma_sm90_desc): for 16-bit elements,
/// S bytes of swizzle, offsets in bytes
///   along k        (row % 8) * S + (row / 8) * SBO + k * 2                          no swizzle: S = 16, k / 8 * LBO
///   along rows     row % (S / 2) * 2 + row / (S / 2) * LBO + (k % 8) * S + (k / 8) * SBO
///                                                                                   no swizzle: S = 16, LBO and SBO
///                                                                                   swapped
/// Then bits 4 to 6 of the address are exchanged by bits 7 to 9 (S = 128; fewer of both for 64 and 32).
uint32_t operand_address(uint64_t descriptor, uint32_t row, uint32_t k, bool along_rows) {
  const auto field = [&](int shift) { return static_cast<uint32_t>(descriptor >> shift & 0x3fff) << 4; };
  const uint32_t start = field(0), leading = field(16), stride = field(32);
  if ((descriptor >> 49 & 7) != 0) throw std::runtime_error("a matrix descriptor with a base offset");
  const auto mode = static_cast<uint32_t>(descriptor >> 62);
  const uint32_t span = mode == 0 ? 16 : 256 >> mode;
  uint32_t offset;
  if (along_rows) {
    offset = row % (span / 2) * 2 + row / (span / 2) * (mode == 0 ? stride : leading) + k % 8 * span +
             k / 8 * (mode == 0 ? leading : stride);
  } else {
    offset = row % 8 * span + row / 8 * stride + (mode == 0 ? k / 8 * leading + k % 8 * 2 : k * 2);
  }
  const uint32_t address = start + offset;
  return address ^ (address >> 7 & (span / 16 - 1)) << 4;
}

/// The rows of warp `index` of a block; fragments as the PTX ISA defines those of wgmma.m64nNk16.
void run_product(size_t index, const IssuedProduct& product) {
  static float a[16][16], b[16][256];
  const Product& first = product.lanes[0];
  const auto first_row = static_cast<uint32_t>(index % 4) * 16;
  for (uint32_t k = 0; k < 16; ++k) {
    for (uint32_t column = 0; column < static_cast<uint32_t>(first.columns); ++column) {
      const uint32_t address = operand_address(first.b_descriptor, column, k, first.b_along_columns);
      b[k][column] = first.number(read_operand(address, product));
    }
    for (uint32_t row = 0; row < 16; ++row) {
      if (first.a_registers == nullptr) {
        const uint32_t address = operand_address(first.a_descriptor, first_row + row, k, false);
        a[row][k] = first.number(read_operand(address, product));
      } else {  // register 0: rows 0-7, k 0-7; 1: rows 8-15; 2, 3: the same with k 8-15; each a pair along k
        const uint32_t pair = product.lanes[row % 8 * 4 + k % 8 / 2].a_registers[row / 8 + k / 8 * 2];
        a[row][k] = first.number(static_cast<uint16_t>(k % 2 == 0 ? pair : pair >> 16));
      }
    }
  }
  for (unsigned lane = 0; lane < kWarpLanes; ++lane) {
    for (int i = 0; i < first.columns / 2; ++i) {
      const unsigned row = lane / 4 + (i / 2 % 2 == 0 ? 0 : 8);
      const unsigned column = static_cast<unsigned>(i) / 4 * 8 + lane % 4 * 2 + static_cast<unsigned>(i) % 2;
      float& sum = product.lanes[lane].sums[i];
      float added = 0;
      for (int k = 0; k < 16; ++k) added += a[row][k] * b[k][column];
      sum = first.add ? sum + added : added;
    }
  }
}

void run_products(size_t index, const std::vector<IssuedProduct>& products) {
  for (const IssuedProduct& product : products) run_product(index, product);
}

void prepare(Fiber& fiber) {
  fiber.done = false;
  fiber.waits_for = nullptr;
  fiber.groups.clear();
  fiber.open.clear();
  fiber.arrivals.clear();
  fiber.fenced_at = 0;
  if (!fiber.stack) fiber.stack = std::make_unique<char[]>(kStackBytes);
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry, 0);
}

void run_block(Dim block_index) {
  const unsigned threads = block_size.x * block_size.y * block_size.z;
  while (fibers.size() < threads) fibers.push_back(std::make_unique<Fiber>());
  warps.assign((threads + 31) / 32, {});
  for (size_t w = 0; w < warps.size(); ++w)
    warps[w].meeting.size = std::min(32U, threads - static_cast<unsigned>(w) * 32);
  block_meeting = {threads, 0, 0};
  barriers.clear();
  named_barriers = {};
  std::fill(shared_begin, shared_begin + shared_size + kGuardBytes, static_cast<char>(0xff));
  async_writes.assign(shared_size / kGranuleBytes + 1, {});
  std::vector<Fiber*> order;
  for (unsigned t = 0; t < threads; ++t) {
    Fiber& fiber = *fibers[t];
    prepare(fiber);
    fiber.state = {{t % block_size.x, t / block_size.x % block_size.y, t / block_size.x / block_size.y},
                   block_index,
                   t % 32,
                   t / 32};
    order.push_back(&fiber);
  }
  std::shuffle(order.begin(), order.end(), randomness);
  size_t left = threads;
  while (left > 0) {
    bool moved = false;
    for (Fiber* fiber : order) {
      if (randomness() % 8 == 0) moved |= run_arrival(*fiber);
      if (fiber->done || (fiber->waits_for != nullptr && fiber->waits_for->round == fiber->round)) continue;
      moved = true;
      fiber->waits_for = nullptr;
      running = fiber;
      current = fiber->state;
      swapcontext(&scheduler, &fiber->context);
      if (error) std::rethrow_exception(std::exchange(error, nullptr));
      if (fiber->done) --left;
    }
    moved = moved || std::any_of(order.begin(), order.end(), [](Fiber* fiber) { return run_arrival(*fiber); });
    if (!moved) throw std::runtime_error("the threads of a block wait for each other for ever");
  }
  for (const Warp& warp : warps) {
    if (!warp.product_groups.empty() || !warp.open_products.empty())
      throw std::runtime_error("a warp ended before its products");
  }
  for (size_t i = shared_size; i < shared_size + kGuardBytes; ++i) {
    if (shared_begin[i] != static_cast<char>(0xff)) throw std::runtime_error("a kernel wrote past its shared memory");
  }
}

}  // namespace

ThreadState current;
Dim grid_size, block_size;

void launch(Dim grid, Dim block, size_t shared_bytes, uint32_t seed, const std::function<void()>& kernel) {
  grid_size = grid;
  block_size = block;
  shared_size = shared_bytes;
  shared_storage.resize(shared_bytes + kGuardBytes + kSharedAlignment);
  const auto begin = reinterpret_cast<uintptr_t>(shared_storage.data());
  shared_begin = shared_storage.data() + (kSharedAlignment - begin % kSharedAlignment) % kSharedAlignment;
  body = &kernel;
  randomness.seed(seed);
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) run_block({x, y, z});
    }
  }
}

char* dynamic_shared() { return shared_begin; }
uint32_t shared_address(const void* shared) {
  if (!in_dynamic_shared(shared)) throw std::runtime_error("an address that is not in dynamic shared memory");
  return static_cast<uint32_t>(static_cast<const char*>(shared) - shared_begin);
}

void meet_block() { meet(block_meeting, {}); }
void meet_warp(const std::function<void()>& action) { meet(warps[current.warp].meeting, action); }
void* lane_slot(unsigned lane) { return warps[current.warp].slots[lane]; }

void copy_async(void* to, const void* from, size_t bytes, bool valid) {
  const PendingCopy copy{to, from, bytes, valid, running};
  if (randomness() % 2 == 0) {
    run_copy(copy);
  } else {
    running->open.push_back(copy);
  }
}
void commit_copies() { running->groups.push_back(std::exchange(running->open, {})); }
void wait_copies(int pending) {
  while (run_arrival(*running)) {
  }
  auto& groups = running->groups;
  while (groups.size() > static_cast<size_t>(pending)) {
    std::for_each(groups.front().begin(), groups.front().end(), run_copy);
    groups.erase(groups.begin());
  }
}

void init_barrier(uint64_t* barrier, uint32_t count) {
  if (shared_address(barrier) % sizeof *barrier != 0) throw std::runtime_error("an mbarrier is not aligned");
  *barrier = kBarrierMark;
  barriers[barrier] = {count, 0, 0};
}
void arrive_at_barrier(uint64_t* barrier) { arrive(meeting_of(barrier)); }
void arrive_after_copies(uint64_t* barrier) {
  Fiber::Arrival arrival{std::exchange(running->open, {}), &meeting_of(barrier)};
  for (const auto& group : running->groups) arrival.copies.insert(arrival.copies.end(), group.begin(), group.end());
  running->groups.clear();
  running->arrivals.push_back(std::move(arrival));
}
void wait_for_barrier(uint64_t* barrier, uint32_t parity) {
  const Meeting& meeting = meeting_of(barrier);
  while (meeting.round % 2 == parity) wait_for_round(meeting);
}
void named_barrier(int id, int threads, bool wait) {
  Meeting& meeting = named_barriers.at(static_cast<size_t>(id));
  const auto size = static_cast<unsigned>(threads);
  if (meeting.arrived > 0 && meeting.size != size) throw std::runtime_error("a barrier of two sizes");
  meeting.size = size;
  wait ? meet(meeting, {}) : arrive(meeting);
}
void fence_async_proxy() { running->fenced_at = ++now; }

void fence_products() {
  meet_warp([] { warps[current.warp].products_fenced = true; });
}
void issue_product(const Product& product) {
  static_assert(sizeof product <= sizeof Warp::slots[0]);
  std::memcpy(lane_slot(current.lane), &product, sizeof product);
  meet_warp([] {
    const size_t index = current.warp;
    Warp& warp = warps[index];
    if (!warp.products_fenced) throw std::runtime_error("a product without a fence since the last wait");
    IssuedProduct issued;
    for (unsigned lane = 0; lane < kWarpLanes; ++lane) {
      std::memcpy(&issued.lanes[lane], warp.slots[lane], sizeof(Product));
      issued.fenced_at[lane] = fibers[index * kWarpLanes + lane]->fenced_at;
      if (issued.lanes[lane].a_descriptor != issued.lanes[0].a_descriptor ||
          issued.lanes[lane].b_descriptor != issued.lanes[0].b_descriptor)
        throw std::runtime_error("the lanes of a product have different descriptors");
    }
    // Products run in order: once one is late, those behind it are.
    bool late = randomness() % 2 == 0 || !warp.open_products.empty();
    for (const auto& group : warp.product_groups) late = late || !group.empty();
    if (late) {
      warp.open_products.push_back(issued);
    } else {
      run_product(index, issued);
    }
  });
}
void commit_products() {
  meet_warp([] {
    Warp& warp = warps[current.warp];
    warp.product_groups.push_back(std::exchange(warp.open_products, {}));
  });
}
void wait_products(int pending) {
  meet_warp([pending] {
    Warp& warp = warps[current.warp];
    while (warp.product_groups.size() > static_cast<size_t>(pending)) {
      run_products(current.warp, warp.product_groups.front());
      warp.product_groups.pop_front();
    }
    warp.products_fenced = false;
  });
}

}  // namespace vitrine::cuda_emulator
