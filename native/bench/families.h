// The op families of kernel_bench: each runs the wanted ones of its cases.
#pragma once

#include "bench/op_bench.h"

namespace vitrine::bench {

void bench_linear(OpBench& bench);     ///< on the CPU beside oneDNN
void bench_attention(OpBench& bench);  ///< decode and prefill on a paged cache
void bench_moe(OpBench& bench);        ///< routing and experts
void bench_rows(OpBench& bench);       ///< what passes over rows once: norms, rope, activations, embedding, gathers
void bench_logits(OpBench& bench);     ///< sampling and log-probabilities

}  // namespace vitrine::bench
