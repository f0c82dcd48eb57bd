// One pass with a heap of the best so far; vector compares skip everything below its worst.
#include "backend/cpu/top_select.h"

#include <algorithm>
#include <numeric>

namespace vitrine {

void select_top(const CpuKernels& kernels, const float* x, int64_t n, int64_t k, std::vector<int32_t>& ids) {
  const auto better = [x](int32_t a, int32_t b) { return x[a] > x[b] || (x[a] == x[b] && a < b); };
  k = std::min(k, n);
  ids.resize(static_cast<size_t>(k));
  if (k <= 0) return;
  std::iota(ids.begin(), ids.end(), 0);
  if (k > n / 8) {  // a heap this large would be slower
    ids.resize(static_cast<size_t>(n));
    std::iota(ids.begin() + k, ids.end(), static_cast<int32_t>(k));
    std::nth_element(ids.begin(), ids.begin() + (k - 1), ids.end(), better);
    ids.resize(static_cast<size_t>(k));
  } else {
    std::make_heap(ids.begin(), ids.end(), better);  // its front is the worst
    int64_t i = k;
    while ((i = kernels.find_ge(x, i, n, x[ids.front()])) < n) {
      const auto id = static_cast<int32_t>(i++);
      if (!better(id, ids.front())) continue;
      std::pop_heap(ids.begin(), ids.end(), better);
      ids.back() = id;
      std::push_heap(ids.begin(), ids.end(), better);
    }
  }
  std::sort(ids.begin(), ids.end(), better);
}

}  // namespace vitrine
