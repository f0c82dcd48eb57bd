// Case tables of the op families. The `..._cases` are small and odd, for the tests (and `kernel_bench --cases test`);
// the `..._bench_cases` have the shapes of real models.
#pragma once

#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "backend/backend.h"

#include "core/dtype.h"

namespace vitrine::test {

struct GemmCase {
  int64_t m, n, k;
};

inline std::vector<GemmCase> gemm_cases() {
  std::vector<GemmCase> cases = {
      {0, 5, 7},    {3, 0, 7},      {2, 5, 0},      {1, 1, 1},       {1, 33, 1},      {5, 31, 2},     {7, 64, 3},
      {12, 65, 15}, {13, 97, 16},   {25, 130, 17},  {64, 40, 64},    {70, 257, 129},  {1, 515, 300},  {3, 700, 65},
      {37, 16, 33}, {48, 288, 257}, {130, 96, 192}, {90, 130, 1037}, {40, 560, 1060}, {28, 97, 1037}, {56, 130, 1037}};
  for (int64_t m = 1; m <= 36; ++m) cases.push_back({m, 48 + m * 7 % 50, 30 + m});
  return cases;
}

/// n, k: qkv, o, gate_up, down of the Llama-3.2-1B shape; a square one; a small model's.
inline std::vector<GemmCase> gemm_bench_cases() {
  std::vector<GemmCase> cases;
  for (const GemmCase shape :
       {GemmCase{0, 3072, 2048}, {0, 16384, 2048}, {0, 2048, 8192}, {0, 4096, 4096}, {0, 768, 768}}) {
    for (const int64_t m : {1, 2, 4, 8, 16, 32, 64, 256, 1024}) cases.push_back({m, shape.n, shape.k});
  }
  return cases;
}

/// The matrices of Llama-3.1-8B, its head last.
inline std::vector<GemmCase> gemm_gpu_bench_cases() {
  std::vector<GemmCase> cases;
  for (const GemmCase shape :
       {GemmCase{0, 6144, 4096}, {0, 4096, 4096}, {0, 28672, 4096}, {0, 4096, 14336}, {0, 128256, 4096}}) {
    for (const int64_t m : {1, 4, 8, 16, 32, 128, 1024, 8192}) {
      if (shape.n < 100000 || m <= 128) cases.push_back({m, shape.n, shape.k});
    }
  }
  return cases;
}

struct AttentionCase {
  int32_t num_heads, num_kv_heads, head_dim, block_size;
  int32_t window;                   ///< 0 = all
  std::vector<int32_t> seq_lens;    ///< after the step
  std::vector<int32_t> query_lens;  ///< new tokens of each request
};

inline std::vector<AttentionCase> attention_cases() {
  return {
      {1, 1, 1, 1, 0, {1}, {1}},
      {4, 4, 8, 16, 0, {1, 17, 64}, {1, 1, 1}},
      {8, 2, 8, 16, 0, {65, 130, 5}, {1, 1, 5}},
      {6, 2, 64, 16, 0, {200, 63}, {200, 1}},
      {5, 1, 7, 3, 0, {70, 10}, {20, 10}},
      {4, 1, 33, 5, 0, {129, 1, 66}, {100, 1, 2}},
      {16, 1, 24, 32, 0, {96}, {40}},
      {3, 3, 80, 48, 0, {150, 49}, {3, 49}},
      {8, 8, 128, 64, 0, {190}, {70}},
      {2, 1, 256, 16, 0, {77}, {13}},
      {7, 7, 20, 1024, 0, {140, 3}, {1, 3}},
      {4, 2, 16, 16, 1, {90, 40}, {90, 1}},
      {4, 2, 16, 16, 33, {300, 20}, {1, 20}},
      {6, 3, 48, 4, 70, {260, 64}, {130, 1}},
      {4, 4, 9, 1, 64, {129}, {129}},
      {2, 1, 300, 7, 5, {33}, {33}},
      {8, 1, 128, 16, 0, {300, 33}, {1, 1}},
      {16, 1, 64, 16, 0, {270}, {3}},
      {17, 1, 64, 32, 0, {70}, {2}},
      {4, 2, 96, 16, 100, {250, 140}, {1, 70}},
      {2, 2, 256, 16, 0, {90}, {90}},
      {2, 2, 128, 1, 150, {200}, {130}},
      {4, 1, 64, 16, 0, {450, 30}, {140, 30}},
      {0 + 2, 2, 8, 16, 0, {}, {}},
  };
}

/// Llama-3.2-1B heads: decode at several batch sizes and contexts, prefill.
inline std::vector<AttentionCase> attention_bench_cases() {
  const auto decode = [](size_t batch, int32_t context) {
    return AttentionCase{32, 8, 64, 16, 0, std::vector<int32_t>(batch, context), std::vector<int32_t>(batch, 1)};
  };
  return {decode(1, 256),
          decode(1, 2048),
          decode(8, 256),
          decode(32, 256),
          decode(32, 2048),
          {32, 8, 64, 16, 0, {256}, {256}},
          {32, 8, 64, 16, 0, {2048}, {2048}},
          {32, 8, 128, 16, 0, {1024}, {1024}},
          {32, 8, 64, 1, 0, {2048}, {1}}};
}

/// Llama-3.1-8B heads: decode of every batch size at every context, prefill of whole prompts and of a chunk.
inline std::vector<AttentionCase> attention_gpu_bench_cases() {
  const auto equal = [](size_t batch, int32_t context, int32_t queries) {
    return AttentionCase{32, 8, 128, 16, 0, std::vector<int32_t>(batch, context), std::vector<int32_t>(batch, queries)};
  };
  std::vector<AttentionCase> cases;
  for (const size_t batch : {1, 8, 32, 64}) {
    for (const int32_t context : {1024, 4096, 16384, 32768}) cases.push_back(equal(batch, context, 1));
  }
  for (const auto& [batch, context, queries] :
       {std::tuple{8, 1024, 1024}, {1, 4096, 4096}, {1, 16384, 16384}, {1, 16384, 2048}}) {
    cases.push_back(equal(static_cast<size_t>(batch), context, queries));
  }
  return cases;
}

struct MoeCase {
  int64_t tokens, hidden, inner;
  int32_t experts, top_k;
  bool normalize;
};

inline std::vector<MoeCase> moe_cases() {
  return {{0, 16, 8, 4, 2, true},   {1, 16, 8, 4, 2, true},   {5, 33, 17, 3, 3, false},
          {40, 24, 48, 8, 2, true}, {70, 16, 5, 9, 1, false}, {1030, 8, 8, 4, 2, true}};
}

inline std::vector<MoeCase> moe_bench_cases() {
  return {{1, 2048, 768, 64, 8, true}, {32, 2048, 768, 64, 8, true}, {256, 2048, 768, 64, 8, true}};
}

/// Rows that an op passes over once: norms, activations, embeddings, gathers.
struct RowsCase {
  int64_t rows, cols;
};

inline std::vector<RowsCase> rows_cases() {
  std::vector<RowsCase> cases;
  for (const int64_t cols : {1, 7, 16, 33, 64, 100, 257, 2048}) {
    for (const int64_t rows : {0, 1, 3, 40}) cases.push_back({rows, cols});
  }
  return cases;
}

/// The residual stream of the Llama-3.2-1B shape, and the inner width of its MLP.
inline std::vector<RowsCase> rows_bench_cases() { return {{1, 2048}, {32, 2048}, {1024, 2048}}; }
inline std::vector<RowsCase> gated_bench_cases() { return {{1, 8192}, {32, 8192}, {1024, 8192}}; }

inline constexpr std::pair<Activation, const char*> kActivations[] = {
    {Activation::kSilu, "silu"}, {Activation::kGelu, "gelu"}, {Activation::kGeluTanh, "gelu_tanh"}};

struct RopeCase {
  int64_t rows;
  int32_t heads, kv_heads, head_dim, rotary_dim;
};

inline std::vector<RopeCase> rope_cases() {
  std::vector<RopeCase> cases;
  for (const RopeCase& shape : {RopeCase{0, 1, 1, 2, 2},
                                {0, 4, 2, 8, 8},
                                {0, 3, 1, 20, 6},
                                {0, 6, 2, 64, 64},
                                {0, 5, 5, 33, 32},
                                {0, 2, 1, 128, 0},
                                {0, 8, 8, 256, 128}}) {
    for (const int64_t rows : {0, 1, 3, 40}) {
      cases.push_back({rows, shape.heads, shape.kv_heads, shape.head_dim, shape.rotary_dim});
    }
  }
  return cases;
}

inline std::vector<RopeCase> rope_bench_cases() {
  return {{1, 32, 8, 64, 64}, {32, 32, 8, 64, 64}, {1024, 32, 8, 64, 64}};
}

/// How tokens are chosen from a row of logits; rows and vocabulary beside it.
struct SamplingCase {
  const char* name;
  float temperature;
  int32_t top_k;
  float top_p;
  float min_p;
  bool penalties;  ///< of all three kinds, for some tokens generated before
};

inline std::vector<SamplingCase> sampling_cases() {
  return {{"temperature", 1.0f, -1, 1, 0, false},
          {"low temperature", 0.2f, -1, 1, 0, false},
          {"top_k", 1.5f, 5, 1, 0, false},
          {"top_k 1", 1.5f, 1, 1, 0, false},
          {"top_k over vocab", 1.0f, 5000, 1, 0, false},
          {"large top_k", 1.0f, 700, 0.95f, 0, false},
          {"top_p", 1.0f, -1, 0.7f, 0, false},
          {"tiny top_p", 1.0f, -1, 1e-6f, 0, false},
          {"flat top_p", 50.0f, -1, 0.9f, 0, false},
          {"min_p", 1.0f, -1, 1, 0.2f, false},
          {"all filters", 0.9f, 40, 0.8f, 0.1f, false},
          {"top_p and min_p", 0.9f, -1, 0.9f, 0.05f, false},
          {"penalties", 0.8f, -1, 1, 0, true},
          {"penalties and top_k", 0.8f, 30, 1, 0, true}};
}

inline std::vector<SamplingCase> sampling_bench_cases() {
  return {{"greedy", 0, -1, 1, 0, false},          {"greedy with penalties", 0, -1, 1, 0, true},
          {"temperature", 1, -1, 1, 0, false},     {"top_k 50", 1, 50, 1, 0, false},
          {"top_p 0.9", 0.1f, -1, 0.9f, 0, false}, {"top_k 50 top_p 0.9 min_p 0.05", 0.7f, 50, 0.9f, 0.05f, false}};
}

/// The experts of Qwen3-30B-A3B, then of Mixtral-8x7B.
inline std::vector<MoeCase> moe_gpu_bench_cases() {
  std::vector<MoeCase> cases;
  for (const int64_t tokens : {1, 32, 256, 4096}) cases.push_back({tokens, 2048, 768, 128, 8, true});
  for (const int64_t tokens : {1, 32, 4096}) cases.push_back({tokens, 4096, 14336, 8, 2, true});
  return cases;
}

inline constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};
inline constexpr DType kCacheDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat8E4M3};

}  // namespace vitrine::test
