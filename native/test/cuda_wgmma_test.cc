// The emulator's wgmma and its barriers against what NVIDIA documents of them, without any kernel of ours between.
#include "cuda_emulator.h"

#include <array>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "test_framework.h"

namespace vitrine::test {
namespace {

using namespace vitrine::cuda;

constexpr unsigned kThreads = 128;
constexpr int kRows = 64;   ///< of A and D
constexpr int kDepth = 16;  ///< k
constexpr int kColumns = 96;
constexpr uint32_t kBPlace = 16384;
constexpr size_t kSharedBytes = 65536;

/// A layout of 16-bit elements in shared memory. Swizzles are as those of cuTensorMapEncodeTiled: a box with rows of
/// `span` bytes lies row by row, with the 16-byte chunk c of row r at place c ^ (r % 8) for 128 bytes,
/// c ^ (r / 2 % 4) for 64 and c ^ (r / 4 % 2) for 32.
struct Layout {
  const char* name;
  int span;  ///< bytes; 16: no swizzle
  uint64_t mode;
};
constexpr Layout kLayouts[] = {{"none", 16, 0}, {"128 bytes", 128, 1}, {"64 bytes", 64, 2}, {"32 bytes", 32, 3}};

/// Of the element `column` of row `row` of a box.
uint32_t in_box(const Layout& layout, int row, int column) {
  const int chunk = column / 8;
  const int place = layout.span == 128  ? chunk ^ (row % 8)
                    : layout.span == 64 ? chunk ^ (row / 2 % 4)
                    : layout.span == 32 ? chunk ^ (row / 4 % 2)
                                        : chunk;
  return static_cast<uint32_t>(row * layout.span + place * 16 + column % 8 * 2);
}

uint64_t descriptor(const Layout& layout, uint32_t start, uint32_t leading, uint32_t stride) {
  return (start >> 4) | uint64_t{leading >> 4} << 16 | uint64_t{stride >> 4} << 32 | layout.mode << 62;
}

/// Rows of a matrix along k: boxes of span / 2 columns of all rows; without swizzle, core matrices of 8 x 8.
struct AlongK {
  uint32_t rows;
  uint32_t box(const Layout& layout) const { return rows * static_cast<uint32_t>(layout.span); }
  uint32_t place(const Layout& layout, int row, int k) const {
    const int box_columns = layout.span / 2;
    return static_cast<uint32_t>(k / box_columns) * box(layout) + in_box(layout, row, k % box_columns);
  }
  uint64_t at(const Layout& layout, uint32_t start, int k) const {
    const int box_columns = layout.span / 2;
    return descriptor(layout, start + static_cast<uint32_t>(k / box_columns) * box(layout) + k % box_columns * 2U,
                      box(layout), static_cast<uint32_t>(layout.span) * 8);
  }
};

/// B with rows along its columns: boxes of span / 2 columns of all k.
struct AlongColumns {
  static constexpr uint32_t kAll = 64;  ///< k
  uint32_t place(const Layout& layout, int column, int k) const {
    const int box_columns = layout.span / 2;
    return static_cast<uint32_t>(column / box_columns * layout.span) * kAll + in_box(layout, k, column % box_columns);
  }
  uint64_t at(const Layout& layout, uint32_t start, int k) const {
    const auto span = static_cast<uint32_t>(layout.span);
    const uint32_t box = span * kAll, eight = span * 8;
    // Without swizzle the two distances have each other's place.
    return descriptor(layout, start + static_cast<uint32_t>(k) * span, layout.span == 16 ? eight : box,
                      layout.span == 16 ? box : eight);
  }
};

float number(uint16_t bits) { return number_of_bits<__half>(bits); }

struct Matrices {
  std::vector<__half> a, b;  ///< [kRows, depth], [kColumns, depth]
  int depth = 64;

  explicit Matrices(uint32_t seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < kRows * depth; ++i) a.push_back(value(random));
    for (int i = 0; i < kColumns * depth; ++i) b.push_back(value(random));
  }
  static __half value(std::mt19937& random) {
    return __half(static_cast<float>(static_cast<int>(random() % 17) - 8) / 4.0f);  // sums are exact
  }
  float product(int row, int column) const {
    float sum = 0;
    for (int k = 0; k < depth; ++k) {
      sum += static_cast<float>(a[static_cast<size_t>(row * depth + k)]) *
             static_cast<float>(b[static_cast<size_t>(column * depth + k)]);
    }
    return sum;
  }
};

template <class Place>
void fill(const std::vector<__half>& from, int rows, int depth, uint32_t start, const Place& place) {
  for (int row = 0; row < rows; ++row) {
    for (int k = 0; k < depth; ++k) {
      std::memcpy(dynamic_shared() + start + place(row, k), &from[static_cast<size_t>(row * depth + k)], 2);
    }
  }
}

/// "Register fragments and shared memory matrix layouts": D of m64nN, row and column of register i.
void check_sums(const std::vector<std::array<float, kColumns / 2>>& sums, const Matrices& matrices,
                const std::string& what) {
  int wrong = 0;
  for (int thread = 0; thread < static_cast<int>(kThreads); ++thread) {
    for (int i = 0; i < kColumns / 2; ++i) {
      const int row = thread / 32 * 16 + thread % 32 / 4 + (i % 4 < 2 ? 0 : 8);
      const int column = i / 4 * 8 + thread % 4 * 2 + (i & 1);
      wrong += sums[static_cast<size_t>(thread)][static_cast<size_t>(i)] != matrices.product(row, column) ? 1 : 0;
    }
  }
  CHECK_MESSAGE(wrong == 0, what + ": " + std::to_string(wrong) + " sums are wrong");
}

/// What a kernel of one warpgroup that is wrong is told.
std::string complaint(const std::function<void()>& kernel) {
  try {
    cuda_emulator::launch({1}, {kThreads}, kSharedBytes, 1, kernel);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "nothing";
}

}  // namespace

TEST("cuda emulator: products of operands in shared memory, in every canonical layout") {
  const Matrices matrices(3);
  for (const Layout& layout : kLayouts) {
    for (const bool along_columns : {false, true}) {
      std::vector<std::array<float, kColumns / 2>> sums(kThreads);
      const AlongK a_layout{kRows}, b_layout{kColumns};
      const AlongColumns b_across;
      cuda_emulator::launch({1}, {kThreads}, kSharedBytes, 5, [&] {
        if (threadIdx.x == 0) {
          fill(matrices.a, kRows, matrices.depth, 0, [&](int r, int k) { return a_layout.place(layout, r, k); });
          fill(matrices.b, kColumns, matrices.depth, kBPlace, [&](int column, int k) {
            return along_columns ? b_across.place(layout, column, k) : b_layout.place(layout, column, k);
          });
        }
        __syncthreads();
        fence_async_proxy();
        float d[kColumns / 2];
        wgmma_fence();
        for (int k = 0; k < matrices.depth; k += kDepth) {
          cuda_emulator::issue_product(
              {d, nullptr, a_layout.at(layout, 0, k),
               along_columns ? b_across.at(layout, kBPlace, k) : b_layout.at(layout, kBPlace, k), kColumns, k > 0,
               along_columns, number});
        }
        wgmma_commit();
        wgmma_wait<0>();
        std::copy(std::begin(d), std::end(d), sums[threadIdx.x].begin());
      });
      check_sums(sums, matrices, std::string("swizzle ") + layout.name + (along_columns ? ", MN-major" : ", K-major"));
    }
  }
}

TEST("cuda emulator: products with A in registers") {
  const Matrices matrices(4);
  const Layout& layout = kLayouts[1];
  std::vector<std::array<float, kColumns / 2>> sums(kThreads);
  const AlongColumns b_layout;
  cuda_emulator::launch({1}, {kThreads}, kSharedBytes, 5, [&] {
    if (threadIdx.x == 0) {
      fill(matrices.b, kColumns, matrices.depth, kBPlace,
           [&](int column, int k) { return b_layout.place(layout, column, k); });
    }
    __syncthreads();
    const int thread = static_cast<int>(threadIdx.x);
    float d[kColumns / 2] = {};
    uint32_t a[4][4];
    for (int step = 0; step < 4; ++step) {
      // "Fragment of A": element i of 8 is in row groupID (+ 8 for i 2, 3, 6, 7), k 2 * threadID_in_group + i % 2 (+ 8
      // for i >= 4).
      uint16_t elements[8];
      for (int i = 0; i < 8; ++i) {
        const int row = thread / 32 * 16 + thread % 32 / 4 + (i / 2 % 2 == 0 ? 0 : 8);
        const int k = step * kDepth + thread % 4 * 2 + (i & 1) + (i >= 4 ? 8 : 0);
        std::memcpy(&elements[i], &matrices.a[static_cast<size_t>(row * matrices.depth + k)], 2);
      }
      std::memcpy(a[step], elements, sizeof elements);
    }
    wgmma_fence();
    for (int step = 0; step < 4; ++step) {
      wgmma_mixed<__half, kColumns / 2>(d, a[step], b_layout.at(layout, kBPlace, step * kDepth));
    }
    wgmma_commit();
    wgmma_wait<0>();
    std::copy(std::begin(d), std::end(d), sums[threadIdx.x].begin());
  });
  check_sums(sums, matrices, "A in registers");
}

TEST("cuda emulator: tiles in panels have the descriptors of their layout") {
  using Wide = PanelTile<128, 64>;  // two panels with the swizzle of 128 bytes
  static_assert(Wide::kPanelBytes == 64 * 128);
  CHECK_EQ(Wide::descriptor(Wide::at(0x2400)), descriptor(kLayouts[1], 0x2400, 64 * 128, 1024));
  using Narrow = PanelTile<96, 64>;  // three with that of 64 bytes
  CHECK_EQ(Narrow::descriptor(Narrow::at(0x400) + Narrow::step(32)), descriptor(kLayouts[2], 0x420, 64 * 64, 512));
  const AlongK rows{64};
  for (int row = 0; row < 64; ++row) {
    for (int chunk = 0; chunk < 16; ++chunk) {
      CHECK_EQ(static_cast<uint32_t>(Wide::element(row, chunk)) * 2, rows.place(kLayouts[1], row, chunk * 8));
      if (chunk >= 12) continue;
      CHECK_EQ(static_cast<uint32_t>(Narrow::element(row, chunk)) * 2, rows.place(kLayouts[2], row, chunk * 8));
    }
  }
}

TEST("cuda emulator: a product is asynchronous, and what must come before and after it is demanded") {
  const AlongK a_layout{kRows}, b_layout{kColumns};
  const Layout& layout = kLayouts[1];
  const auto issue = [&](float* d) {
    cuda_emulator::issue_product(
        {d, nullptr, a_layout.at(layout, 0, 0), b_layout.at(layout, kBPlace, 0), kColumns, false, false, number});
    wgmma_commit();
  };
  const std::vector<__half> ones(kSharedBytes / 2, __half(1.0f));
  const auto copy = [&] {
    for (size_t i = threadIdx.x; i < 2048; i += kThreads) copy_async_16(dynamic_shared() + i * 16, ones.data(), true);
    copy_async_commit();
    copy_async_wait<0>();
    __syncthreads();
  };
  int early = 0, late = 0;
  for (uint32_t seed = 0; seed < 20; ++seed) {
    cuda_emulator::launch({1}, {kThreads}, kSharedBytes, seed, [&] {
      float d[kColumns / 2] = {};
      copy();
      fence_async_proxy();
      wgmma_fence();
      issue(d);
      early += d[0] == 16 ? 1 : 0;
      wgmma_wait<0>();
      late += d[0] == 16 ? 1 : 0;
    });
  }
  CHECK(early > 0 && early < 20 * static_cast<int>(kThreads));
  CHECK_EQ(late, 20 * static_cast<int>(kThreads));

  float d[kThreads][kColumns / 2];
  CHECK_EQ(complaint([&] {
             copy();
             fence_async_proxy();
             issue(d[threadIdx.x]);
             wgmma_wait<0>();
           }),
           std::string("a product without a fence since the last wait"));
  CHECK_EQ(complaint([&] {
             copy();
             wgmma_fence();
             issue(d[threadIdx.x]);
             wgmma_wait<0>();
           }),
           std::string("a product read what cp.async wrote without a proxy fence"));
  CHECK_EQ(complaint([&] {
             copy();
             fence_async_proxy();
             wgmma_fence();
             issue(d[threadIdx.x]);
           }),
           std::string("a warp ended before its products"));
}

TEST("cuda emulator: mbarriers end a phase with its last arrival, also that of copies") {
  std::vector<int> order;
  const std::array<uint16_t, 8> source = {7, 7, 7, 7, 7, 7, 7, 7};
  for (uint32_t seed = 0; seed < 10; ++seed) {
    cuda_emulator::launch({1}, {64}, 4096, seed, [&] {
      auto* const full = reinterpret_cast<Barrier*>(dynamic_shared() + 2048);
      Barrier* const empty = full + 1;
      if (threadIdx.x == 0) {
        barrier_init(full, 32);
        barrier_init(empty, 1);
      }
      __syncthreads();
      for (uint32_t round = 0; round < 5; ++round) {
        if (threadIdx.x < 32) {
          barrier_wait(empty, round % 2 ^ 1);
          copy_async_16(dynamic_shared() + threadIdx.x * 16, source.data(), true);
          barrier_arrive_after_copies(full);
        } else {
          barrier_wait(full, round % 2);
          uint16_t seen;
          std::memcpy(&seen, dynamic_shared() + (threadIdx.x - 32) * 16, sizeof seen);
          CHECK_EQ(seen, uint16_t{7});
          __syncwarp();
          std::memset(dynamic_shared() + (threadIdx.x - 32) * 16, 0, 16);
          __syncwarp();
          if (threadIdx.x == 32) barrier_arrive(empty);
        }
      }
    });
  }
  CHECK_EQ(complaint([] { barrier_wait(reinterpret_cast<Barrier*>(dynamic_shared()), 0); }),
           std::string("an mbarrier was used before its init"));
  CHECK_EQ(complaint([] {
             auto* const barrier = reinterpret_cast<Barrier*>(dynamic_shared());
             if (threadIdx.x == 0) barrier_init(barrier, kThreads + 1);
             __syncthreads();
             barrier_arrive(barrier);
             barrier_wait(barrier, 0);
           }),
           std::string("the threads of a block wait for each other for ever"));
}

TEST("cuda emulator: a named barrier lets go on when those that wait and those that arrive are together") {
  for (uint32_t seed = 0; seed < 10; ++seed) {
    int turn = 0;
    cuda_emulator::launch({1}, {64}, 0, seed, [&] {
      const int warp = static_cast<int>(threadIdx.x) / 32;
      if (warp == 1) named_barrier_arrive(1, 64);
      for (int round = 0; round < 4; ++round) {
        named_barrier_wait(1 + warp, 64);
        CHECK_EQ(turn % 2, warp);
        __syncwarp();
        if (threadIdx.x % 32 == 0) ++turn;
        __syncwarp();
        named_barrier_arrive(2 - warp, 64);
      }
    });
    CHECK_EQ(turn, 8);
  }
}

}  // namespace vitrine::test
