// Ops that pass over rows once: norms, rope, activations, embedding.
#include "bench/families.h"

namespace vitrine::bench {
namespace {

void rope(OpBench& bench, int64_t m, const std::string& suffix) {
  const auto angles = random_floats(static_cast<size_t>(m) * 64, 9);
  std::vector<int32_t> positions(static_cast<size_t>(m));
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int32_t>(i);
  KvLayer cache{nullptr, nullptr, bench.stored(), (m + 15) / 16, 16, 8, 64};
  for (void** to : {&cache.k, &cache.v}) {
    *to = bench.memory(nullptr, static_cast<size_t>(cache.num_blocks) * 16 * 8 * 64 * dtype_size(bench.stored()));
  }
  const Tensor qkv = bench.tensor(m, (32 + 16) * 64);
  const RopeTable table{bench.on_device(angles), m, 64};
  const int32_t* device_positions = bench.on_device(positions);
  const std::string name = "rope_and_store " + std::string(dtype_name(bench.stored())) + " h32/8 d64" + suffix;
  bench.measure(name, {bench.element_bytes() * static_cast<double>(m) * 48 * 64 * 2, 0, false}, [&] {
    bench.backend().rope_and_store(qkv, 32, table, nullptr, nullptr, 1e-5f, device_positions, device_positions, cache);
  });
}

}  // namespace

void bench_rows(OpBench& bench) {
  for (const int64_t m : {1, 32, 1024}) {
    bench.free_inputs();
    const std::string suffix = " m" + std::to_string(m);
    const auto elements = [m, &bench](int64_t cols, double passes) {
      return Work{bench.element_bytes() * static_cast<double>(m * cols) * passes, 0, false};
    };
    const auto gain = bench.backend().create_weight(WeightKind::kVector, 2048, 1, DType::kFloat32);
    if (bench.wanted("add_rms_norm")) {
      const Tensor x = bench.tensor(m, 2048);
      const Tensor delta = bench.tensor(m, 2048);
      const Tensor out = bench.tensor(m, 2048);
      bench.measure("add_rms_norm n2048" + suffix, elements(2048, 4),
                    [&] { bench.backend().add_rms_norm(x, delta, *gain, 1e-5f, out); });
    }
    for (const auto& [activation, label] :
         {std::pair{Activation::kSilu, "silu"}, {Activation::kGeluTanh, "gelu_tanh"}, {Activation::kGelu, "gelu"}}) {
      const std::string name = std::string("gated_") + label + " n8192" + suffix;
      if (!bench.wanted(name)) continue;
      const Tensor gate_up = bench.tensor(m, 16384);
      const Tensor out = bench.tensor(m, 8192);
      bench.measure(name, elements(8192, 3),
                    [&, chosen = activation] { bench.backend().gated_activation(gate_up, chosen, out); });
    }
    if (bench.wanted("rope_and_store")) rope(bench, m, suffix);
    if (bench.wanted("embed")) {
      const auto table = bench.weight(32000, 2048, bench.stored());
      std::vector<int32_t> ids(static_cast<size_t>(m));
      for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 7919 % 32000);
      const Tensor out = bench.tensor(m, 2048);
      const int32_t* device_ids = bench.on_device(ids);
      bench.measure("embed " + std::string(dtype_name(bench.stored())) + " n2048" + suffix,
                    elements(2048, bench.on_gpu() ? 2 : 1.5), [&] { bench.backend().embed(*table, device_ids, out); });
    }
  }
}

}  // namespace vitrine::bench
