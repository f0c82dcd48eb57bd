// Paged attention against the reference backend on every layout, and bit for bit against any other batching.
#include <cmath>
#include <numeric>

#include "op_cases.h"
#include "op_test_support.h"
#include "reference_backend.h"
#include "test_framework.h"

namespace vitrine::test {
namespace {

/// One layer's cache, every byte 0xff (NaN) where nothing was stored.
struct Cache {
  Cache(Backend& backend, const AttentionCase& shape, DType dtype, int32_t blocks) {
    layer.dtype = dtype;
    layer.num_blocks = blocks;
    layer.block_size = shape.block_size;
    layer.num_kv_heads = shape.num_kv_heads;
    layer.head_dim = shape.head_dim;
    if (dtype == DType::kFloat8E4M3) {  // no powers of two, so that a scale that is forgotten or rounds twice is seen
      layer.k_scale = 0.3f;
      layer.v_scale = 1.7f;
    }
    const size_t bytes = static_cast<size_t>(blocks) *
                         static_cast<size_t>(shape.block_size * shape.num_kv_heads * shape.head_dim) *
                         dtype_size(dtype);
    for (auto* buffer : {&k, &v}) {
      *buffer = backend.allocate(bytes + 64);
      std::memset((*buffer)->data(), 0xff, bytes + 64);
    }
    layer.k = k->data();
    layer.v = v->data();
  }

  std::unique_ptr<DeviceBuffer> k, v;
  KvLayer layer;
};

/// The sequences of a case: block tables in scrambled order, and the qkv row of every position.
class Sequences {
 public:
  explicit Sequences(const AttentionCase& shape) : shape_(shape) {
    int32_t total = 0;
    for (const int32_t length : shape.seq_lens) total += (length + shape.block_size - 1) / shape.block_size;
    total_blocks = total;
    std::vector<int32_t> order(static_cast<size_t>(total));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(17));
    size_t next = 0;
    for (const int32_t length : shape.seq_lens) {
      auto& table = tables_.emplace_back();
      for (int32_t i = 0; i * shape.block_size < length; ++i) table.push_back(order[next++]);
      rows_.push_back(exact_floats(int64_t{length} * width(), static_cast<uint32_t>(rows_.size()) + 40));
    }
  }

  int64_t width() const { return int64_t{shape_.num_heads + 2 * shape_.num_kv_heads} * shape_.head_dim; }

  struct Part {
    size_t request;
    int32_t first, end;  ///< positions
  };

  /// Stores K and V of the parts and returns their attention, [tokens, heads * head_dim].
  std::vector<float> run(Backend& backend, const Cache& cache, const std::vector<Part>& parts) const {
    std::vector<int32_t> query_start = {0}, seq_lens, block_start = {0}, blocks, positions, slots;
    std::vector<float> qkv;
    for (const Part& part : parts) {
      const auto& table = tables_[part.request];
      for (int32_t p = part.first; p < part.end; ++p) {
        positions.push_back(p);
        slots.push_back(table[static_cast<size_t>(p / shape_.block_size)] * shape_.block_size + p % shape_.block_size);
      }
      const auto& rows = rows_[part.request];
      qkv.insert(qkv.end(), rows.begin() + part.first * width(), rows.begin() + part.end * width());
      query_start.push_back(static_cast<int32_t>(positions.size()));
      seq_lens.push_back(part.end);
      blocks.insert(blocks.end(), table.begin(),
                    table.begin() + (part.end + shape_.block_size - 1) / shape_.block_size);
      block_start.push_back(static_cast<int32_t>(blocks.size()));
    }
    const auto tokens = static_cast<int32_t>(positions.size());
    const Tensor qkv_tensor = tensor_of(qkv, tokens, width());
    const std::vector<float> no_rope(static_cast<size_t>(4096));
    backend.rope_and_store(qkv_tensor, shape_.num_heads, {no_rope.data(), 4096, 0}, nullptr, nullptr, 1e-5f,
                           positions.data(), slots.data(), cache.layer);
    std::vector<float> out(static_cast<size_t>(tokens) * static_cast<size_t>(shape_.num_heads * shape_.head_dim), NAN);
    const float scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim));
    backend.attention().plan(
        {shape_.num_heads, shape_.num_kv_heads, shape_.head_dim, shape_.block_size, scale, cache.layer.dtype},
        {static_cast<int32_t>(parts.size()), tokens, query_start.data(), seq_lens.data(), block_start.data(),
         blocks.data()});
    backend.attention().run(cache.layer, qkv_tensor, shape_.window,
                            tensor_of(out, tokens, int64_t{shape_.num_heads} * shape_.head_dim));
    return out;
  }

  /// The history before the step (cached_only), then the step itself, all requests in one batch.
  std::vector<float> run_case(Backend& backend, const Cache& cache) const {
    std::vector<Part> history, step;
    for (size_t r = 0; r < rows_.size(); ++r) {
      const int32_t length = shape_.seq_lens[r];
      const int32_t cached = length - shape_.query_lens[r];
      if (cached > 0) history.push_back({r, 0, cached});
      step.push_back({r, cached, length});
    }
    if (!history.empty()) run(backend, cache, history);
    return run(backend, cache, step);
  }

  int32_t total_blocks = 0;

 private:
  const AttentionCase& shape_;
  std::vector<std::vector<int32_t>> tables_;
  std::vector<std::vector<float>> rows_;
};

std::string label(const std::string& isa, DType dtype, size_t index) {
  return isa + " " + std::string(dtype_name(dtype)) + " case " + std::to_string(index);
}

/// Beside the rounding of the output: 16-bit kernels multiply V with rounded probabilities.
double attention_tolerance(const Backend& backend) {
  const DType dtype = backend.activation_dtype();
  return dtype == DType::kFloat32 ? (cuda_under_test() ? 1e-5 : 4e-6) : 2 * rounding_of(dtype);
}

}  // namespace

OP_TEST("attention: every case, dtype and backend equals the reference backend") {
  const auto cases = attention_cases();
  const auto reference = make_reference_backend();
  for (size_t i = 0; i < cases.size(); ++i) {
    const Sequences sequences(cases[i]);
    for_each_backend(2, [&](Backend& backend, const std::string& isa) {
      for (const DType dtype : cache_dtypes_of(backend)) {
        const Cache expected_cache(*reference, cases[i], dtype, sequences.total_blocks);
        const auto expected = sequences.run_case(*reference, expected_cache);
        const Cache cache(backend, cases[i], dtype, sequences.total_blocks);
        const auto out = sequences.run_case(backend, cache);
        const double excess = largest_excess(out, expected, rounding_of(backend.activation_dtype()));
        CHECK_MESSAGE(excess < attention_tolerance(backend), label(isa, dtype, i) + ": differs by " + shown(excess));
      }
    });
  }
}

TEST("attention: the same bits with any chunking, alone or together, at any thread count") {
  const auto cases = attention_cases();
  for (size_t i = 0; i < cases.size(); ++i) {
    const AttentionCase& shape = cases[i];
    const Sequences sequences(shape);
    const int64_t out_width = int64_t{shape.num_heads} * shape.head_dim;
    for (const DType dtype : kCacheDTypes) {
      for_each_isa(1, [&](Backend& backend, const std::string& isa, CpuIsa which) {
        const Cache cache(backend, shape, dtype, sequences.total_blocks);
        const auto whole = sequences.run_case(backend, cache);
        for (const int threads : {2, 3}) {
          ThreadPool pool(threads);
          const auto parallel = make_cpu_backend(which, pool);
          CHECK_MESSAGE(same_bits(sequences.run_case(*parallel, cache), whole), label(isa, dtype, i));
        }
        // Each request alone, in chunks from its beginning, in a fresh cache.
        int64_t offset = 0;
        for (size_t r = 0; r < shape.seq_lens.size(); ++r) {
          const int32_t length = shape.seq_lens[r];
          const int32_t wanted = shape.query_lens[r];
          for (const int32_t chunk : {1, 5, 16, 61}) {
            const Cache fresh(backend, shape, dtype, sequences.total_blocks);
            for (int32_t first = 0; first < length; first += chunk) {
              const int32_t end = std::min(length, first + chunk);
              const auto part = sequences.run(backend, fresh, {{r, first, end}});
              const int32_t from = std::max(first, length - wanted);
              if (from >= end) continue;
              CHECK_MESSAGE(
                  same_bits(part.data() + (from - first) * out_width,
                            whole.data() + (offset + from - (length - wanted)) * out_width, (end - from) * out_width),
                  label(isa, dtype, i) + ", chunk " + std::to_string(chunk) + " from " + std::to_string(first));
            }
          }
          offset += wanted;
        }
      });
    }
  }
}

OP_TEST("attention: whole blocks can be copied") {
  const AttentionCase shape{6, 2, 33, 5, 0, {23}, {4}};
  const Sequences sequences(shape);
  for_each_backend(1, [&](Backend& backend, const std::string& isa) {
    for (const DType dtype : cache_dtypes_of(backend)) {
      const Cache cache(backend, shape, dtype, sequences.total_blocks);
      const auto out = sequences.run_case(backend, cache);
      Cache copy(backend, shape, dtype, sequences.total_blocks);
      const size_t block_bytes =
          static_cast<size_t>(shape.block_size * shape.num_kv_heads * shape.head_dim) * dtype_size(dtype);
      for (int32_t block = 0; block < sequences.total_blocks; ++block) {
        const size_t at = static_cast<size_t>(block) * block_bytes;
        std::memcpy(static_cast<char*>(copy.layer.k) + at, static_cast<char*>(cache.layer.k) + at, block_bytes);
        std::memcpy(static_cast<char*>(copy.layer.v) + at, static_cast<char*>(cache.layer.v) + at, block_bytes);
      }
      CHECK_MESSAGE(same_bits(sequences.run(backend, copy, {{0, 19, 23}}), out), label(isa, dtype, 0));
    }
  });
}

OP_TEST("attention: nothing is written outside the cache's blocks") {
  for (const AttentionCase& shape : attention_cases()) {
    const Sequences sequences(shape);
    for_each_backend(1, [&](Backend& backend, const std::string& isa) {
      for (const DType dtype : cache_dtypes_of(backend)) {
        const Cache cache(backend, shape, dtype, sequences.total_blocks);
        sequences.run_case(backend, cache);
        for (const auto* buffer : {&cache.k, &cache.v}) {
          const auto* end = static_cast<const unsigned char*>((*buffer)->data()) + (*buffer)->bytes() - 64;
          for (int i = 0; i < 64; ++i) CHECK_MESSAGE(end[i] == 0xff, isa);
        }
      }
    });
  }
}

TEST("attention: heads that do not divide are refused") {
  ThreadPool pool(1);
  const auto backend = make_cpu_backend(CpuIsa::kAvx2, pool);
  CHECK_THROWS_WITH(backend->attention().plan({5, 2, 8, 16, 1.0f}, {}), "5 query heads are not a multiple of 2");
}

}  // namespace vitrine::test
