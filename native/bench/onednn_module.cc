// onednn_linear.so: oneDNN's matrix product behind plain functions.
#include "bench/onednn_module.h"

#include <omp.h>

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

namespace vitrine::bench {
namespace {

using dnnl::memory;

class PackedMatmul {
 public:
  PackedMatmul(int64_t m, int64_t n, int64_t k, memory::data_type type, int64_t copies)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    const memory::desc x({m, k}, type, memory::format_tag::ab);
    const memory::desc weight({k, n}, type, memory::format_tag::any);
    const memory::desc out({m, n}, memory::data_type::f32, memory::format_tag::ab);
    const dnnl::matmul::primitive_desc plan(dnnl::matmul::desc(x, weight, out), engine_);
    matmul_ = dnnl::matmul(plan);
    x_ = memory(plan.src_desc(), engine_);
    out_ = memory(plan.dst_desc(), engine_);
    for (int64_t i = 0; i < copies; ++i) weights_.emplace_back(plan.weights_desc(), engine_);
    for (memory& each : weights_) fill(each);
    fill(x_);
  }

  void run() {
    memory& weight = weights_[next_++ % weights_.size()];
    matmul_.execute(stream_, {{DNNL_ARG_SRC, x_}, {DNNL_ARG_WEIGHTS, weight}, {DNNL_ARG_DST, out_}});
    stream_.wait();
  }

 private:
  /// 1.0 in the upper half of a float32 is 1.0 as bfloat16; as pairs of it, a normal float32.
  static void fill(memory& each) {
    auto* words = static_cast<uint16_t*>(each.get_data_handle());
    std::fill_n(words, each.get_desc().get_size() / 2, uint16_t{0x3f80});
  }

  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul matmul_;
  memory x_;
  memory out_;
  std::vector<memory> weights_;
  size_t next_ = 0;
};

void start(int threads) {
  omp_set_num_threads(threads);
#pragma omp parallel
  {}
}

void* create(int64_t m, int64_t n, int64_t k, bool bfloat16, int64_t copies) {
  try {
    return new PackedMatmul(m, n, k, bfloat16 ? memory::data_type::bf16 : memory::data_type::f32, copies);
  } catch (const dnnl::error&) {
    return nullptr;  // a CPU without bfloat16
  }
}

void run(void* product) { static_cast<PackedMatmul*>(product)->run(); }

void destroy(void* product) { delete static_cast<PackedMatmul*>(product); }

}  // namespace

extern "C" __attribute__((visibility("default"))) const OneDnnModule vitrine_onednn_module{start, create, run, destroy};

}  // namespace vitrine::bench
