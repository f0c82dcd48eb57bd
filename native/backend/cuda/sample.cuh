// The order of tokens, best first and equal ones by lower id, is that of 52-bit keys, all different. A cut in it
// (top_k, top_p, the drawn token) is found by narrowing the range of keys with histograms of 2048 bins; nothing is
// sorted. Sums are of integers, in shared memory: the same whatever the order of the threads.
#pragma once

#include <cfloat>
#include <cmath>

#include "backend/cuda/mma.cuh"
#include "backend/cuda/numbers.cuh"
#include "backend/cuda/sample.h"

namespace vitrine::cuda::sample_kernels {

constexpr int kThreads = 512;  // more would leave each too few registers
constexpr int kWarps = kThreads / 32;
constexpr int kBinBits = 11;
constexpr int kBins = 1 << kBinBits;
constexpr int kListSize = 1024;
constexpr int kIdBits = 20;
constexpr uint64_t kIdMask = (uint64_t{1} << kIdBits) - 1;
constexpr int kLimbBits = 12;  // of a weight's 36 bits: 2^19 limbs add up in 32 bits
constexpr uint32_t kLimbMask = (1u << kLimbBits) - 1;
constexpr float kWeightOne = 68719476736.0f;  // 2^36

constexpr int kThreadBins = kBins / kThreads;

static_assert(kBins % kThreads == 0 && kWarps <= 32);

struct Shared {
  uint32_t counts[kBins];
  uint32_t limbs[3][kBins];
  uint64_t list[kListSize];
  uint64_t warps[kWarps];
  float floats[kWarps];
  uint64_t found_bin, found_before, found_key;
  uint32_t found_count;
  int list_count;
};

/// Falls as x rises; -0 equals 0.
__device__ uint64_t key_of(float x, int64_t id) {
  const uint32_t bits = __float_as_uint(x + 0.0f);
  const uint32_t ordered = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(~ordered) << kIdBits | static_cast<uint64_t>(id);
}

__device__ float value_of(uint64_t key) {
  const uint32_t ordered = ~static_cast<uint32_t>(key >> kIdBits);
  return __uint_as_float((ordered & 0x80000000u) != 0 ? ordered & 0x7fffffffu : ~ordered);
}

__device__ int32_t id_of(uint64_t key) { return static_cast<int32_t>(key & kIdMask); }

/// One value a warp, by lane; `none` for lanes beyond the last warp.
template <class Value>
__device__ Value of_warp(const Value (&values)[kWarps], Value none) {
  return static_cast<int>(threadIdx.x % 32) < kWarps ? values[threadIdx.x % 32] : none;
}

/// The keys of a row: all of them, or after shrink() those kept in shared memory.
template <class T>
struct Row {
  const T* logits;
  const float* adjusted;  ///< used instead when not null
  int64_t size;
  bool in_list;

  __device__ float at(int64_t id) const { return adjusted != nullptr ? adjusted[id] : to_float(logits[id]); }

  template <class Body>
  __device__ void each(const Shared& shared, Body body) const {
    if (in_list) {
      for (int i = threadIdx.x; i < shared.list_count; i += kThreads) body(shared.list[i]);
      return;
    }
#pragma unroll 4
    for (int64_t id = threadIdx.x; id < size; id += kThreads) body(key_of(at(id), id));
  }
};

struct Bounds {
  float least, most;
  bool finite;
};

/// All threads get the same. `finite`: neither NaN nor infinity among them.
template <class T>
__device__ Bounds bounds_of(Shared& shared, const Row<T>& row) {
  float least = FLT_MAX;
  float most = -INFINITY;
  bool finite = true;
  for (int64_t id = threadIdx.x; id < row.size; id += kThreads) {
    const float x = row.at(id);
    finite = finite && fabsf(x) <= FLT_MAX;
    least = fminf(least, x);
    most = fmaxf(most, x);
  }
  Bounds bounds;
  bounds.finite = __syncthreads_and(finite) != 0;
  most = warp_max(most);
  if (threadIdx.x % 32 == 0) shared.floats[threadIdx.x / 32] = most;
  __syncthreads();
  bounds.most = warp_max(of_warp(shared.floats, -INFINITY));
  __syncthreads();
  least = -warp_max(-least);
  if (threadIdx.x % 32 == 0) shared.floats[threadIdx.x / 32] = least;
  __syncthreads();
  bounds.least = -warp_max(-of_warp(shared.floats, FLT_MAX));
  __syncthreads();
  return bounds;
}

__device__ uint64_t warp_sum_64(uint64_t value) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

__device__ uint64_t warp_inclusive_scan(uint64_t value) {
  for (int offset = 1; offset < 32; offset *= 2) {
    const uint64_t below = __shfl_up_sync(0xffffffffu, value, offset);
    if (static_cast<int>(threadIdx.x % 32) >= offset) value += below;
  }
  return value;
}

/// Sum of the values of lower threads; `total` of all.
__device__ uint64_t block_exclusive_scan(Shared& shared, uint64_t value, uint64_t* total) {
  const uint64_t inclusive = warp_inclusive_scan(value);
  if (threadIdx.x % 32 == 31) shared.warps[threadIdx.x / 32] = inclusive;
  __syncthreads();
  const uint64_t warps = warp_inclusive_scan(of_warp(shared.warps, uint64_t{0}));
  *total = __shfl_sync(0xffffffffu, warps, 31);
  const uint64_t below = __shfl_sync(0xffffffffu, warps, max(static_cast<int>(threadIdx.x / 32) - 1, 0));
  __syncthreads();
  return (threadIdx.x >= 32 ? below : 0) + inclusive - value;
}

__device__ uint64_t block_sum_64(Shared& shared, uint64_t value) {
  value = warp_sum_64(value);
  if (threadIdx.x % 32 == 0) shared.warps[threadIdx.x / 32] = value;
  __syncthreads();
  value = warp_sum_64(of_warp(shared.warps, uint64_t{0}));
  __syncthreads();
  return value;
}

/// exp((x - most) / temperature) as a fixed-point number; 0 below min_p.
struct Weigher {
  float most;
  float temperature;
  float min_p;

  __device__ uint64_t operator()(float x) const {
    const float weight = expf((x - most) / temperature);
    return weight >= min_p ? __float2ull_rn(weight * kWeightOne) : 0;
  }
};

/// The first key from `lo` on at which the running sum, of weights or of ones, exceeds `target`. Keys outside of
/// [lo, hi] do not count. A target beyond the whole sum stands for the last key that adds to it.
template <bool kWeights, class T>
__device__ uint64_t find_key(Shared& shared, const Row<T>& row, uint64_t lo, uint64_t hi, uint64_t target,
                             const Weigher& weigh) {
  while (true) {
    const int shift = max(0, 64 - __clzll(static_cast<long long>(hi - lo)) - kBinBits);
    for (int bin = threadIdx.x; bin < kBins; bin += kThreads) {
      shared.counts[bin] = 0;
      for (auto& limbs : shared.limbs) limbs[bin] = 0;
    }
    __syncthreads();
    row.each(shared, [&](uint64_t key) {
      if (key < lo || key > hi) return;
      const auto bin = static_cast<uint32_t>((key - lo) >> shift);
      atomicAdd(&shared.counts[bin], 1u);
      if constexpr (kWeights) {
        const uint64_t weight = weigh(value_of(key));
        for (int limb = 0; limb < 3; ++limb) {
          const uint32_t part = static_cast<uint32_t>(weight >> (limb * kLimbBits)) & (limb < 2 ? kLimbMask : ~0u);
          if (part != 0) atomicAdd(&shared.limbs[limb][bin], part);
        }
      }
    });
    __syncthreads();
    const auto sum_of = [&](int bin) -> uint64_t {
      if constexpr (!kWeights) return shared.counts[bin];
      return shared.limbs[0][bin] + (static_cast<uint64_t>(shared.limbs[1][bin]) << kLimbBits) +
             (static_cast<uint64_t>(shared.limbs[2][bin]) << (2 * kLimbBits));
    };
    const int first_bin = static_cast<int>(threadIdx.x) * kThreadBins;
    uint64_t own = 0;
    for (int bin = first_bin; bin < first_bin + kThreadBins; ++bin) own += sum_of(bin);
    uint64_t total;
    uint64_t before = block_exclusive_scan(shared, own, &total);
    target = min(target, total - 1);
    if (before <= target && target < before + own) {  // true of one thread
      int bin = first_bin;
      while (target >= before + sum_of(bin)) before += sum_of(bin++);
      shared.found_bin = static_cast<uint64_t>(bin);
      shared.found_before = before;
      shared.found_count = shared.counts[bin];
    }
    __syncthreads();
    target -= shared.found_before;
    lo += shared.found_bin << shift;
    hi = min(hi, lo + ((uint64_t{1} << shift) - 1));
    if (shift == 0) return lo;
    if (shared.found_count == 1) {
      row.each(shared, [&](uint64_t key) {
        if (key >= lo && key <= hi) shared.found_key = key;
      });
      __syncthreads();
      return shared.found_key;
    }
  }
}

/// Sum of the weights of the keys up to `last`.
template <class T>
__device__ uint64_t weight_up_to(Shared& shared, const Row<T>& row, uint64_t last, const Weigher& weigh) {
  uint64_t sum = 0;
  row.each(shared, [&](uint64_t key) {
    if (key <= last) sum += weigh(value_of(key));
  });
  return block_sum_64(shared, sum);
}

/// Keeps the keys in [lo, hi], which are at most kListSize, in shared memory, in any order.
template <class T>
__device__ void shrink(Shared& shared, Row<T>& row, uint64_t lo, uint64_t hi) {
  if (threadIdx.x == 0) shared.list_count = 0;
  __syncthreads();
  row.each(shared, [&](uint64_t key) {
    if (key >= lo && key <= hi) shared.list[atomicAdd(&shared.list_count, 1)] = key;
  });
  __syncthreads();
  row.in_list = true;
}

/// Penalties and bias on a copy of the row.
template <class T>
__device__ const float* adjust(const SampleBatch& batch, const SampleRow& job, const T* logits, int64_t vocab) {
  const int64_t place = job.adjusted - batch.first_adjusted;
  float* adjusted = batch.adjusted + place * vocab;
  int32_t* counts = batch.adjusted_counts + place * vocab;
  for (int64_t id = threadIdx.x; id < vocab; id += kThreads) {
    adjusted[id] = to_float(logits[id]);
    counts[id] = 0;
  }
  __syncthreads();
  const int32_t* history = batch.history + job.history_first;
  for (int32_t i = threadIdx.x; i < job.history_count; i += kThreads) atomicAdd(&counts[history[i]], 1);
  __syncthreads();
  for (int32_t i = threadIdx.x; i < job.history_count; i += kThreads) {
    const int32_t count = atomicExch(&counts[history[i]], 0);
    if (count == 0) continue;  // done by another of its occurrences
    float& x = adjusted[history[i]];
    x = x > 0 ? x / job.repetition_penalty : x * job.repetition_penalty;
    x = x - job.frequency_penalty * static_cast<float>(count) - job.presence_penalty;
  }
  __syncthreads();
  for (int32_t i = threadIdx.x; i < job.bias_count; i += kThreads) {
    atomicAdd(&adjusted[batch.bias_ids[job.bias_first + i]], batch.bias_values[job.bias_first + i]);
  }
  __syncthreads();
  return adjusted;
}

/// Inverse distribution function over the ids in their own order. Each warp sums a stretch of them; the one that holds
/// the target looks for it.
template <class T>
__device__ int32_t draw_by_id(Shared& shared, const Row<T>& row, double uniform, const Weigher& weigh) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const int64_t stretch = (row.size + kThreads - 1) / kThreads * 32;
  const int64_t first = warp * stretch;
  const int64_t end = min(row.size, first + stretch);
  uint64_t sum = 0;
#pragma unroll 4
  for (int64_t id = first + lane; id < end; id += 32) sum += weigh(row.at(id));
  sum = warp_sum_64(sum);
  uint64_t total;
  // Lane 0 of each warp brings the warp's sum, so what is before it is the sum of the warps before.
  const uint64_t before = __shfl_sync(0xffffffffu, block_exclusive_scan(shared, lane == 0 ? sum : 0, &total), 0);
  const uint64_t target = min(static_cast<uint64_t>(uniform * static_cast<double>(total)), total - 1);
  if (before <= target && target < before + sum) {  // true of one warp
    uint64_t running = before;
    for (int64_t base = first; base < end; base += 32) {
      const int64_t id = base + lane;
      const uint64_t inclusive = running + warp_inclusive_scan(id < end ? weigh(row.at(id)) : 0);
      const unsigned beyond = __ballot_sync(0xffffffffu, inclusive > target);
      if (beyond != 0) {
        if (lane == 0) shared.found_key = static_cast<uint64_t>(base + __ffs(static_cast<int>(beyond)) - 1);
        break;
      }
      running = __shfl_sync(0xffffffffu, inclusive, 31);
    }
  }
  __syncthreads();
  return static_cast<int32_t>(shared.found_key);
}

/// Inverse distribution function over the tokens from the best on, after top_k, top_p and min_p.
template <class T>
__device__ int32_t draw_by_rank(Shared& shared, Row<T> row, const SampleRow& job, const Bounds& bounds,
                                const Weigher& weigh) {
  const uint64_t lo = key_of(bounds.most, 0);
  uint64_t last = key_of(bounds.least, static_cast<int64_t>(kIdMask));
  const Weigher all{weigh.most, weigh.temperature, 0.0f};
  if (job.top_k > 0 && job.top_k < row.size) {
    last = find_key<false>(shared, row, lo, last, static_cast<uint64_t>(job.top_k - 1), all);
    if (job.top_k <= kListSize) shrink(shared, row, lo, last);
  }
  if (job.top_p < 1.0f) {
    const auto total = static_cast<double>(weight_up_to(shared, row, last, all));
    last = find_key<true>(shared, row, lo, last, static_cast<uint64_t>(job.top_p * total), all);
  }
  const uint64_t kept = weight_up_to(shared, row, last, weigh);
  const auto target = static_cast<uint64_t>(job.uniform * static_cast<double>(kept));
  return id_of(find_key<true>(shared, row, lo, last, target, weigh));
}

template <class T>
__device__ int32_t best_id(Shared& shared, const Row<T>& row) {
  uint64_t best = ~uint64_t{0};
  row.each(shared, [&](uint64_t key) { best = min(best, key); });
  for (int offset = 16; offset > 0; offset /= 2) best = min(best, __shfl_xor_sync(0xffffffffu, best, offset));
  if (threadIdx.x % 32 == 0) shared.warps[threadIdx.x / 32] = best;
  __syncthreads();
  best = of_warp(shared.warps, ~uint64_t{0});
  for (int offset = 16; offset > 0; offset /= 2) best = min(best, __shfl_xor_sync(0xffffffffu, best, offset));
  return id_of(best);
}

template <class T>
__global__ void __launch_bounds__(kThreads, 1) sample_kernel(const T* logits, int64_t vocab, SampleBatch batch) {
  wait_for_earlier_kernels();
  __shared__ Shared shared;
  const SampleRow job = batch.rows[blockIdx.x];
  SampleResult& result = batch.results[blockIdx.x];
  const auto finish = [&](int32_t token, SampleStatus status) {
    if (threadIdx.x != 0) return;
    result = {token, status};
    // The next step may be queued already and embed what it finds: a token id, though this step has failed.
    if (job.device_token != nullptr) *job.device_token = max(token, 0);
  };
  Row<T> row{logits + job.row * vocab, nullptr, vocab, false};
  Bounds bounds = bounds_of(shared, row);
  if (!bounds.finite) return finish(-1, kNonFiniteLogits);
  if (job.adjusted >= 0) {
    row.adjusted = adjust(batch, job, row.logits, vocab);
    bounds = bounds_of(shared, row);
    // fmaxf passes over NaN; -infinity is a suppressed token.
    bool bad = false;
    for (int64_t id = threadIdx.x; id < vocab; id += kThreads) bad = bad || !(row.at(id) <= FLT_MAX);
    if (__syncthreads_or(bad) != 0) return finish(-1, kNonFiniteAdjusted);
    if (bounds.most == -INFINITY) return finish(-1, kAllSuppressed);
  }
  if (job.temperature == 0.0f) return finish(best_id(shared, row), kSampled);
  const Weigher weigh{bounds.most, job.temperature, job.min_p};
  const bool by_rank = (job.top_k > 0 && job.top_k < vocab) || job.top_p < 1.0f;
  finish(by_rank ? draw_by_rank(shared, row, job, bounds, weigh) : draw_by_id(shared, row, job.uniform, weigh),
         kSampled);
}

/// Sorts shared.list, padded with the largest keys.
__device__ void sort_list(Shared& shared) {
  for (int i = shared.list_count + static_cast<int>(threadIdx.x); i < kListSize; i += kThreads) {
    shared.list[i] = ~uint64_t{0};
  }
  __syncthreads();
  for (int size = 2; size <= kListSize; size *= 2) {
    for (int distance = size / 2; distance > 0; distance /= 2) {
      for (int i = threadIdx.x; i < kListSize; i += kThreads) {
        const int partner = i ^ distance;
        if (partner < i) continue;
        const uint64_t a = shared.list[i];
        const uint64_t b = shared.list[partner];
        if ((a > b) != ((i & size) == 0)) continue;
        shared.list[i] = b;
        shared.list[partner] = a;
      }
      __syncthreads();
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, 1) logprobs_kernel(const T* logits, int64_t vocab, LogprobBatch batch) {
  wait_for_earlier_kernels();
  __shared__ Shared shared;
  __shared__ double warp_totals[kWarps];
  const LogprobRow job = batch.rows[blockIdx.x];
  const Row<T> row{logits + job.row * vocab, nullptr, vocab, false};
  const Bounds bounds = bounds_of(shared, row);
  if (threadIdx.x == 0) batch.statuses[blockIdx.x] = bounds.finite ? kSampled : kNonFiniteLogits;
  if (!bounds.finite) return;

  double total = 0;
  for (int64_t id = threadIdx.x; id < vocab; id += kThreads) total += expf(row.at(id) - bounds.most);
  for (int offset = 16; offset > 0; offset /= 2) total += __shfl_xor_sync(0xffffffffu, total, offset);
  if (threadIdx.x % 32 == 0) warp_totals[threadIdx.x / 32] = total;
  __syncthreads();
  total = of_warp(warp_totals, 0.0);
  for (int offset = 16; offset > 0; offset /= 2) total += __shfl_xor_sync(0xffffffffu, total, offset);
  const double log_total = bounds.most + log(total);
  const auto logprob = [&](float x) { return static_cast<float>(x - log_total); };

  if (threadIdx.x == 0) {
    const int32_t target = job.target >= 0 ? job.target : max(batch.sampled[-(job.target + 1)].token, 0);
    batch.target_logprobs[blockIdx.x] = logprob(row.at(target));
  }
  for (int32_t i = threadIdx.x; i < job.watch_count; i += kThreads) {
    batch.watch_logprobs[job.watch_first + i] = logprob(row.at(batch.watch_ids[job.watch_ids_first + i]));
  }
  const Weigher unused{};
  uint64_t lo = key_of(bounds.most, 0);
  const uint64_t hi = key_of(bounds.least, static_cast<int64_t>(kIdMask));
  const int32_t wanted = min(static_cast<int64_t>(job.top_count), vocab);
  for (int32_t first = 0; first < wanted; first += kListSize) {
    const int32_t count = min(kListSize, wanted - first);
    const uint64_t last = find_key<false>(shared, row, lo, hi, static_cast<uint64_t>(count - 1), unused);
    Row<T> best = row;
    shrink(shared, best, lo, last);
    sort_list(shared);
    for (int32_t i = threadIdx.x; i < count; i += kThreads) {
      batch.top_ids[job.top_first + first + i] = id_of(shared.list[i]);
      batch.top_logprobs[job.top_first + first + i] = logprob(value_of(shared.list[i]));
    }
    __syncthreads();
    lo = last + 1;
  }
}

}  // namespace vitrine::cuda::sample_kernels
