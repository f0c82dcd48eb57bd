// Ops that pass over rows once: norms, activations, rope and the KV store, embedding, gathers.
#include <cmath>

#include "bench/families.h"
#include "op_cases.h"

namespace vitrine::bench {
namespace {

std::string suffix(int64_t rows, int64_t cols) { return " n" + std::to_string(cols) + " m" + std::to_string(rows); }

/// Reads and writes of activations: `passes` times all elements.
Work passes_over(const OpBench& bench, int64_t rows, int64_t cols, double passes) {
  return {bench.element_bytes() * static_cast<double>(rows * cols) * passes, 0, false};
}

std::unique_ptr<Weight> gain_of(OpBench& bench, int64_t size) {
  return bench.backend().create_weight(WeightKind::kVector, size, 1, DType::kFloat32);
}

void bench_norms(OpBench& bench, const test::RowsCase& shape) {
  const auto& [rows, cols] = shape;
  const auto gain = gain_of(bench, cols);
  const Tensor x = bench.tensor(rows, cols);
  const Tensor delta = bench.tensor(rows, cols);
  const Tensor out = bench.tensor(rows, cols);
  const std::string plain = "rms_norm" + suffix(rows, cols);
  if (bench.wanted(plain)) {
    bench.measure(plain, passes_over(bench, rows, cols, 2), [&] { bench.backend().rms_norm(x, *gain, 1e-5f, out); });
  }
  const std::string added = "add_rms_norm" + suffix(rows, cols);
  if (bench.wanted(added)) {
    bench.measure(added, passes_over(bench, rows, cols, 4),
                  [&] { bench.backend().add_rms_norm(x, delta, *gain, 1e-5f, out); });
  }
}

void bench_gather(OpBench& bench, const test::RowsCase& shape) {
  const auto& [rows, cols] = shape;
  const std::string name = "gather_rows" + suffix(rows, cols);
  if (!bench.wanted(name)) return;
  std::vector<int32_t> chosen(static_cast<size_t>(rows));
  for (size_t i = 0; i < chosen.size(); ++i) chosen[i] = static_cast<int32_t>(4 * i + 3);
  const Tensor x = bench.tensor(4 * rows, cols);
  const Tensor out = bench.tensor(rows, cols);
  const int32_t* indices = bench.on_device(chosen);
  bench.measure(name, passes_over(bench, rows, cols, 2), [&] { bench.backend().gather_rows(x, indices, out); });
}

void bench_embed(OpBench& bench, const test::RowsCase& shape) {
  constexpr int64_t kVocab = 32000;
  const auto& [rows, cols] = shape;
  for (const DType dtype : bench.subject().dtypes()) {
    const std::string name = "embed " + std::string(dtype_name(dtype)) + suffix(rows, cols);
    if (!bench.wanted(name)) continue;
    const auto table = bench.weight(kVocab, cols, dtype);
    std::vector<int32_t> ids(static_cast<size_t>(rows));
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 7919 % kVocab);
    const Tensor out = bench.tensor(rows, cols);
    const int32_t* device_ids = bench.on_device(ids);
    const double stored = static_cast<double>(dtype_size(dtype)) / bench.element_bytes();
    bench.measure(name, passes_over(bench, rows, cols, 1 + stored),
                  [&] { bench.backend().embed(*table, device_ids, out); });
  }
}

void bench_gated(OpBench& bench, const test::RowsCase& shape) {
  const auto& [rows, cols] = shape;
  for (const auto& [activation, label] : test::kActivations) {
    const std::string name = std::string("gated_") + label + suffix(rows, cols);
    if (!bench.wanted(name)) continue;
    const Tensor gate_up = bench.tensor(rows, 2 * cols);
    const Tensor out = bench.tensor(rows, cols);
    bench.measure(name, passes_over(bench, rows, cols, 3),
                  [&, chosen = activation] { bench.backend().gated_activation(gate_up, chosen, out); });
  }
}

/// RopeTable::cos_sin. The same rows are rotated again and again: they must keep their length.
std::vector<float> rope_angles(int64_t positions, int32_t rotary_dim) {
  std::vector<float> table;
  for (int64_t position = 0; position < positions; ++position) {
    for (int32_t i = 0; i < rotary_dim; ++i) {
      const auto angle = static_cast<float>(position) / static_cast<float>(1 + i % (rotary_dim / 2));
      table.push_back(i < rotary_dim / 2 ? std::cos(angle) : std::sin(angle));
    }
  }
  return table;
}

void bench_rope(OpBench& bench, const test::RopeCase& shape, DType dtype, bool with_norms) {
  const std::string name = "rope_and_store " + std::string(with_norms ? "norms " : "") +
                           std::string(dtype_name(dtype)) + " h" + std::to_string(shape.heads) + "/" +
                           std::to_string(shape.kv_heads) + " d" + std::to_string(shape.head_dim) + " m" +
                           std::to_string(shape.rows);
  if (!bench.wanted(name)) return;
  constexpr int32_t kBlockSize = 16;
  const std::vector<float> cos_sin = rope_angles(shape.rows, shape.rotary_dim);
  std::vector<int32_t> positions(static_cast<size_t>(shape.rows));
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int32_t>(i);
  KvLayer cache{nullptr,    nullptr,        dtype,         (shape.rows + kBlockSize - 1) / kBlockSize,
                kBlockSize, shape.kv_heads, shape.head_dim};
  const int64_t cached = cache.num_blocks * kBlockSize * shape.kv_heads * shape.head_dim;
  for (void** to : {&cache.k, &cache.v}) *to = bench.memory(nullptr, static_cast<size_t>(cached) * dtype_size(dtype));
  const int64_t rotated = int64_t{shape.heads + shape.kv_heads} * shape.head_dim;
  const int64_t stored = int64_t{2 * shape.kv_heads} * shape.head_dim;
  const Tensor qkv = bench.tensor(shape.rows, rotated + int64_t{shape.kv_heads} * shape.head_dim);
  const RopeTable table{bench.on_device(cos_sin), shape.rows, shape.rotary_dim};
  const int32_t* device_positions = bench.on_device(positions);
  const auto gain = gain_of(bench, shape.head_dim);
  const Weight* norm = with_norms ? gain.get() : nullptr;
  // q and k are read and written, v is read; k and v go into the cache.
  const double bytes = bench.element_bytes() * static_cast<double>(qkv.cols + rotated) +
                       static_cast<double>(stored) * static_cast<double>(dtype_size(dtype));
  bench.measure(name, {bytes * static_cast<double>(shape.rows), 0, false}, [&] {
    bench.backend().rope_and_store(qkv, shape.heads, table, norm, norm, 1e-5f, device_positions, device_positions,
                                   cache);
  });
}

}  // namespace

void bench_rows(OpBench& bench) {
  const bool test_cases = bench.options().test_cases;
  for (const test::RowsCase& shape : test_cases ? test::rows_cases() : test::rows_bench_cases()) {
    if (shape.rows == 0) continue;
    bench.free_inputs();
    bench_norms(bench, shape);
    bench_gather(bench, shape);
    bench_embed(bench, shape);
  }
  for (const test::RowsCase& shape : test_cases ? test::rows_cases() : test::gated_bench_cases()) {
    if (shape.rows == 0) continue;
    bench.free_inputs();
    bench_gated(bench, shape);
  }
  for (const DType dtype : bench.subject().dtypes()) {
    for (const test::RopeCase& shape : test_cases ? test::rope_cases() : test::rope_bench_cases()) {
      if (shape.rows == 0) continue;
      bench.free_inputs();
      for (const bool with_norms : {false, true}) bench_rope(bench, shape, dtype, with_norms);
    }
  }
}

}  // namespace vitrine::bench
