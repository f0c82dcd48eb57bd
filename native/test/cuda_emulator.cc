#include "cuda_emulator.h"

#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

namespace vitrine::cuda_emulator {
namespace {

constexpr size_t kStackBytes = 256 * 1024;
constexpr size_t kGuardBytes = 256;

struct PendingCopy {
  void* to;
  const void* from;
  size_t bytes;
  bool valid;
};

/// Threads that wait for each other: a block or a warp.
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
};

struct Warp {
  Meeting meeting;
  alignas(16) char slots[32][64];
};

std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Warp> warps;
Meeting block_meeting;
std::vector<char> shared_memory;
ucontext_t scheduler;
Fiber* running = nullptr;
const std::function<void()>* body = nullptr;
std::exception_ptr error;
std::mt19937 randomness;

void run_copy(const PendingCopy& copy) {
  if (copy.valid) {
    std::memcpy(copy.to, copy.from, copy.bytes);
  } else {
    std::memset(copy.to, 0, copy.bytes);
  }
}

void entry() {
  try {
    (*body)();
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
  running->waits_for = &meeting;
  running->round = meeting.round;
  swapcontext(&running->context, &scheduler);
}

void prepare(Fiber& fiber) {
  fiber.done = false;
  fiber.waits_for = nullptr;
  fiber.groups.clear();
  fiber.open.clear();
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
  std::fill(shared_memory.begin(), shared_memory.end(), static_cast<char>(0xff));
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
      if (fiber->done || (fiber->waits_for != nullptr && fiber->waits_for->round == fiber->round)) continue;
      moved = true;
      fiber->waits_for = nullptr;
      running = fiber;
      current = fiber->state;
      swapcontext(&scheduler, &fiber->context);
      if (error) std::rethrow_exception(std::exchange(error, nullptr));
      if (fiber->done) --left;
    }
    if (!moved) throw std::runtime_error("the threads of a block wait for each other for ever");
  }
  for (size_t i = shared_memory.size() - kGuardBytes; i < shared_memory.size(); ++i) {
    if (shared_memory[i] != static_cast<char>(0xff)) throw std::runtime_error("a kernel wrote past its shared memory");
  }
}

}  // namespace

ThreadState current;
Dim grid_size, block_size;

void launch(Dim grid, Dim block, size_t shared_bytes, uint32_t seed, const std::function<void()>& kernel) {
  grid_size = grid;
  block_size = block;
  shared_memory.assign(shared_bytes + kGuardBytes, 0);
  body = &kernel;
  randomness.seed(seed);
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) run_block({x, y, z});
    }
  }
}

char* dynamic_shared() { return shared_memory.data(); }

void meet_block() { meet(block_meeting, {}); }
void meet_warp(const std::function<void()>& action) { meet(warps[current.warp].meeting, action); }
void* lane_slot(unsigned lane) { return warps[current.warp].slots[lane]; }

void copy_async(void* to, const void* from, size_t bytes, bool valid) {
  const PendingCopy copy{to, from, bytes, valid};
  if (randomness() % 2 == 0) {
    run_copy(copy);
  } else {
    running->open.push_back(copy);
  }
}
void commit_copies() { running->groups.push_back(std::exchange(running->open, {})); }
void wait_copies(int pending) {
  auto& groups = running->groups;
  while (groups.size() > static_cast<size_t>(pending)) {
    std::for_each(groups.front().begin(), groups.front().end(), run_copy);
    groups.erase(groups.begin());
  }
}

}  // namespace vitrine::cuda_emulator
