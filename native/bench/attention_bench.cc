// Paged attention; blocks lie in the cache in random order.
#include "bench/families.h"

#include <algorithm>
#include <random>

#include "op_cases.h"

namespace vitrine::bench {
namespace {

std::vector<test::AttentionCase> attention_cases(const OpBench& bench) {
  if (bench.options().test_cases) return test::attention_cases();
  return bench.on_gpu() ? test::attention_gpu_bench_cases() : test::attention_bench_cases();
}

void attend(OpBench& bench, const std::string& name, const test::AttentionCase& shape, DType dtype) {
  bench.free_inputs();
  std::vector<int32_t> query_start = {0};
  std::vector<int32_t> block_start = {0};
  std::vector<int32_t> blocks;
  Work work;
  work.bf16 = bench.subject().pairs(dtype);
  const double pair_flops = 4.0 * shape.num_heads * shape.head_dim;
  for (size_t r = 0; r < shape.seq_lens.size(); ++r) {
    query_start.push_back(query_start.back() + shape.query_lens[r]);
    for (int32_t i = 0; i * shape.block_size < shape.seq_lens[r]; ++i)
      blocks.push_back(static_cast<int32_t>(blocks.size()));
    block_start.push_back(static_cast<int32_t>(blocks.size()));
    const double keys = shape.seq_lens[r];
    const double queries = shape.query_lens[r];
    work.flops += pair_flops * queries * (keys - (queries - 1) / 2);
    work.bytes += 2 * keys * shape.num_kv_heads * shape.head_dim * static_cast<double>(dtype_size(dtype));
  }
  std::shuffle(blocks.begin(), blocks.end(), std::minstd_rand(5));
  KvLayer cache;
  cache.dtype = dtype;
  cache.num_blocks = static_cast<int64_t>(blocks.size());
  cache.block_size = shape.block_size;
  cache.num_kv_heads = shape.num_kv_heads;
  cache.head_dim = shape.head_dim;
  const size_t elements = blocks.size() * static_cast<size_t>(shape.block_size * shape.num_kv_heads * shape.head_dim);
  const size_t cache_bytes = elements * dtype_size(dtype);
  std::vector<KvLayer> layers;  // as many as it takes to leave the caches
  const size_t copies = bench.options().test_cases ? 1 : std::clamp<size_t>((size_t{128} << 20) / cache_bytes, 1, 64);
  for (size_t i = 0; i < copies; ++i) {
    for (void** to : {&cache.k, &cache.v}) {
      *to = bench.random_memory(dtype, elements, 7);
    }
    layers.push_back(cache);
  }
  const Tensor qkv = bench.tensor(query_start.back(), (shape.num_heads + 2 * shape.num_kv_heads) * shape.head_dim);
  const Tensor out = bench.result(query_start.back(), shape.num_heads * shape.head_dim);
  // A graph has steps of one token a request alone; a prefill takes far longer than its launch.
  const bool decode = query_start.back() == static_cast<int32_t>(shape.seq_lens.size());
  bench.backend().begin_step(decode ? StepMemory::kFixed : StepMemory::kShared);
  bench.backend().attention().plan(
      {shape.num_heads, shape.num_kv_heads, shape.head_dim, shape.block_size, 0.125f, dtype},
      {static_cast<int32_t>(shape.seq_lens.size()), query_start.back(), bench.on_device(query_start),
       bench.on_device(shape.seq_lens), bench.on_device(block_start), bench.on_device(blocks), query_start.data(),
       shape.seq_lens.data()});
  bench.backend().end_step();
  bench.backend().finish_step();
  size_t next = 0;
  const auto attend_once = [&] {
    bench.backend().attention().run(layers[next++ % layers.size()], qkv, shape.window, out);
  };
  bench.measure(name, work, attend_once, decode ? Timing::kReplayed : Timing::kCalled);
}

std::string name_of(const test::AttentionCase& shape, DType dtype) {
  const std::string name = "attention " + std::string(dtype_name(dtype)) + " h" + std::to_string(shape.num_heads) +
                           "/" + std::to_string(shape.num_kv_heads) + " d" + std::to_string(shape.head_dim) + " b" +
                           std::to_string(shape.block_size) + " r" + std::to_string(shape.seq_lens.size());
  if (shape.seq_lens.empty()) return name;
  return name + " q" + std::to_string(shape.query_lens[0]) + " s" + std::to_string(shape.seq_lens[0]);
}

}  // namespace

void bench_attention(OpBench& bench) {
  std::vector<DType> dtypes = bench.subject().dtypes();
  if (bench.stored() == DType::kBFloat16) dtypes.push_back(DType::kFloat8E4M3);
  for (const DType dtype : dtypes) {
    for (const test::AttentionCase& shape : attention_cases(bench)) {
      const std::string name = name_of(shape, dtype);
      if (bench.wanted(name) && !shape.seq_lens.empty()) attend(bench, name, shape, dtype);
    }
  }
}

void bench_portable_attention(OpBench& bench) {
  for (const test::AttentionCase& shape : attention_cases(bench)) {
    if (shape.query_lens.empty() || shape.query_lens[0] == 1) continue;
    const std::string name = "portable " + name_of(shape, bench.stored());
    if (bench.wanted(name)) attend(bench, name, shape, bench.stored());
  }
}

}  // namespace vitrine::bench
