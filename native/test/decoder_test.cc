// The layer loop end to end on small random models: every kind of spec on every backend against the reference backend,
// and one batch against any other way to cut the same tokens into batches.
#include "model/decoder_model.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda_adapter/cuda_backend.h"
#include "engine/model_runner.h"
#include "model/weight_loader.h"
#include "reference_backend.h"
#include "test_device.h"
#include "test_framework.h"
#include "tiny_model.h"

namespace vitrine::test {
namespace {

constexpr int32_t kBlockSize = 4;
constexpr int32_t kLength = 23;

struct SpecCase {
  std::string name;
  ModelSpec spec;
};

std::vector<SpecCase> spec_cases() {
  std::vector<SpecCase> cases;
  const auto add = [&cases](const char* name, auto change) {
    cases.push_back({name, tiny_spec()});
    change(cases.back().spec);
  };
  const auto make_moe = [](ModelSpec& spec) {
    spec.layers[0].moe = MoeSpec{5, 2, true, 24};
    spec.layers[2].moe = MoeSpec{3, 3, false, 16};
  };
  add("plain", [](ModelSpec&) {});
  add("grouped heads", [](ModelSpec& s) { s.num_heads = 6, s.num_kv_heads = 2; });
  add("as many kv heads as heads", [](ModelSpec& s) { s.num_kv_heads = 5; });
  add("biases", [](ModelSpec& s) { s.qkv_bias = s.output_bias = s.mlp_bias = true; });
  add("q/k norm, tied", [](ModelSpec& s) { s.qk_norm = s.tie_word_embeddings = true; });
  add("partial rope", [](ModelSpec& s) { set_rope(s, 6); });
  add("head of 7", [](ModelSpec& s) { s.head_dim = 7, set_rope(s, 6); });
  add("sliding window", [](ModelSpec& s) { s.layers[0].sliding_window = 5, s.layers[2].sliding_window = 1; });
  add("dynamic NTK", [](ModelSpec& s) { s.rope.dynamic_ntk = DynamicNtk{10000, 3, 9}; });
  add("gelu", [](ModelSpec& s) { s.activation = Activation::kGelu; });
  add("gelu_tanh, float16",
      [](ModelSpec& s) { s.activation = Activation::kGeluTanh, s.dtype = s.kv_cache.dtype = DType::kFloat16; });
  add("bfloat16", [](ModelSpec& s) { s.dtype = s.kv_cache.dtype = DType::kBFloat16; });
  add("float8 cache", [](ModelSpec& s) {
    s.kv_cache = {DType::kFloat8E4M3, {{0.01f, 0.03f}, {0.02f, 0.01f}, {0.015f, 0.05f}}};
  });
  add("experts", make_moe);
  add("experts only, one layer", [](ModelSpec& s) {
    s.layers.resize(1);
    s.layers[0].moe = MoeSpec{7, 1, false, 33};
    s.intermediate_size = 0;
  });
  return cases;
}

/// A model with dummy weights.
class Runner {
 public:
  Runner(ModelSpec spec, Backend& backend, ThreadPool& pool, const CacheConfig& config = {64, kBlockSize, 8, 64, 128})
      : spec_(std::move(spec)),
        weights_(load_weights(spec_, dummy_plan(spec_, 11), backend, pool)),
        tracer_(pool, false),
        runner_(spec_, weights_, backend, pool, tracer_, config) {}

  /// Logits of all rows of one step.
  std::vector<float> step(const std::vector<BatchRequest>& requests) {
    Step step;
    step.batch = forward_batch_words(requests, kBlockSize);
    runner_.launch(step);
    runner_.finish(step);
    return output_floats(step.output, layout::OutputSection::kLogits);
  }

 private:
  ModelSpec spec_;
  Weights weights_;
  Tracer tracer_;
  ModelRunner runner_;
};

std::vector<int32_t> tokens_of(int32_t first, int32_t count) {
  std::vector<int32_t> tokens;
  for (int32_t i = first; i < first + count; ++i) tokens.push_back((i * 37 + 11) % 97);
  return tokens;
}

std::vector<int32_t> blocks_of(int32_t request) {
  std::vector<int32_t> blocks;
  for (int32_t i = 0; i < 8; ++i) blocks.push_back(request * 8 + (i * 5) % 8);
  return blocks;
}

std::vector<int32_t> all_rows(int32_t count) {
  std::vector<int32_t> rows;
  for (int32_t i = 0; i < count; ++i) rows.push_back(i);
  return rows;
}

BatchRequest whole_prompt(int32_t slot) {
  return {slot, 0, tokens_of(0, kLength), blocks_of(slot), layout::kFlagReturnLogits, all_rows(kLength)};
}

/// A mixed batch: a chunk that continues a sequence, a new one, and a single token.
std::vector<std::vector<float>> mixed_steps(Runner& runner) {
  std::vector<std::vector<float>> logits;
  logits.push_back(runner.step({whole_prompt(0), {1, 0, tokens_of(3, 9), blocks_of(1), 4, {8}}}));
  logits.push_back(runner.step({{1, 9, tokens_of(12, 6), blocks_of(1), 4, {0, 5}},
                                {2, 0, tokens_of(5, 10), blocks_of(2), 4, {}},
                                {0, kLength, {8}, blocks_of(0), 4, {0}}}));
  logits.push_back(runner.step({{0, kLength + 1, {9}, blocks_of(0), 4, {0}}, {2, 10, {1}, blocks_of(2), 4, {0}}}));
  return logits;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = std::abs(double{a[i]} - b[i]);
    largest = difference <= largest ? largest : difference;  // NaN wins
  }
  return largest;
}

double spread(const std::vector<float>& values) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return double{*most} - *least;
}

}  // namespace

TEST("decoder: a GPU keeps the memory that was reserved at start, whatever steps come") {
  if (!cuda_under_test()) SKIP("a CPU reserves none");
  ThreadPool pool(2);
  for (const SpecCase& each : spec_cases()) {
    const auto backend = make_cuda_backend(*cuda_under_test(), 0, each.spec.dtype);
    Runner runner(each.spec, *backend, pool);
    const size_t reserved = backend->scratch_bytes();
    std::vector<BatchRequest> prefill;
    std::vector<BatchRequest> decode;
    for (int32_t slot = 0; slot < 8; ++slot) {  // as many requests and tokens as there may be
      prefill.push_back({slot, 0, tokens_of(slot, 8), blocks_of(slot), layout::kFlagReturnLogits, {7}});
      decode.push_back({slot, 8, {slot}, blocks_of(slot), layout::kFlagReturnLogits, {0}});
    }
    runner.step(prefill);
    runner.step(decode);
    mixed_steps(runner);
    CHECK_EQ(backend->scratch_bytes(), reserved);
  }
}

TEST("decoder: every kind of spec on every instruction set equals the reference backend") {
  ThreadPool pool(2);
  for (const SpecCase& each : spec_cases()) {
    const auto reference = make_reference_backend();
    Runner expected_runner(each.spec, *reference, pool);
    const auto expected = mixed_steps(expected_runner);
    for (const CpuIsa isa : supported_cpu_isas()) {
      const auto backend = make_cpu_backend(isa, pool);
      Runner runner(each.spec, *backend, pool);
      const auto actual = mixed_steps(runner);
      // bfloat16 GEMMs may round activations to bfloat16, and what lies beside a tie may go to either side of it in a
      // cache of float8; everything else differs by float32 rounding alone.
      const bool rounds = each.spec.dtype == DType::kBFloat16 || each.spec.kv_cache.dtype == DType::kFloat8E4M3;
      const double tolerance = rounds ? 3e-2 : 2e-5;
      for (size_t i = 0; i < expected.size(); ++i) {
        const double difference = largest_difference(actual[i], expected[i]) / spread(expected[i]);
        CHECK_MESSAGE(difference < tolerance,
                      each.name + ", " + std::string(cpu_isa_name(isa)) + ": " + std::to_string(difference));
      }
    }
  }
}

TEST("decoder: rows that are not asked for change nothing") {
  ThreadPool pool(1);
  const auto backend = make_cpu_backend(supported_cpu_isas().back(), pool);
  for (const SpecCase& each : spec_cases()) {
    Runner runner(each.spec, *backend, pool);
    const std::vector<float> all = runner.step({whole_prompt(0)});
    const auto vocab = static_cast<int64_t>(each.spec.vocab_size);
    BatchRequest some = whole_prompt(0);
    some.rows = {2, 17, kLength - 1};
    const std::vector<float> few = runner.step({some});
    CHECK_EQ(few.size(), static_cast<size_t>(3 * vocab));
    for (int64_t i = 0; i < 3; ++i) {
      const int64_t row = some.rows[static_cast<size_t>(i)];
      CHECK_MESSAGE(std::equal(few.begin() + i * vocab, few.begin() + (i + 1) * vocab, all.begin() + row * vocab),
                    each.name);
    }
  }
}

TEST("decoder: any chunking gives the same bits") {
  ThreadPool pool(2);
  const auto backend = make_cpu_backend(supported_cpu_isas().back(), pool);
  for (const SpecCase& each : spec_cases()) {
    Runner runner(each.spec, *backend, pool);
    const std::vector<float> all = runner.step({whole_prompt(0)});
    for (const int32_t chunk : {1, 3, 4, 10}) {
      std::vector<float> chunked;
      for (int32_t start = 0; start < kLength; start += chunk) {
        const int32_t count = std::min(chunk, kLength - start);
        const auto part = runner.step({{1, start, tokens_of(start, count), blocks_of(1), 4, all_rows(count)}});
        chunked.insert(chunked.end(), part.begin(), part.end());
      }
      CHECK_MESSAGE(chunked == all, each.name + ", chunks of " + std::to_string(chunk));
    }
  }
}

TEST("decoder: more tokens than one slice of the MLP, more rows than one turn of logits") {
  ThreadPool pool(2);
  const auto backend = make_cpu_backend(supported_cpu_isas().back(), pool);
  constexpr int32_t kTokens = 1101;
  ModelSpec spec = tiny_spec();
  spec.layers.resize(2);
  spec.vocab_size = 400'000;  // 83 rows of logits in 128 MiB
  Runner runner(spec, *backend, pool, {300, kBlockSize, 2, kTokens, kTokens});
  BatchRequest request{0, 0, tokens_of(0, kTokens), all_rows(300), layout::kFlagReturnLogits, {}};
  for (int32_t row = 3; row < kTokens; row += 12) request.rows.push_back(row);
  const std::vector<float> whole = runner.step({request});
  int64_t done = 0;
  for (int32_t start = 0; start < kTokens; start += 400) {
    const int32_t count = std::min(400, kTokens - start);
    BatchRequest part{0, start, tokens_of(start, count), request.blocks, layout::kFlagReturnLogits, {}};
    for (const int32_t row : request.rows) {
      if (row >= start && row < start + count) part.rows.push_back(row - start);
    }
    const std::vector<float> logits = runner.step({part});
    CHECK(std::equal(logits.begin(), logits.end(), whole.begin() + done));
    done += static_cast<int64_t>(logits.size());
  }
  CHECK_EQ(done, static_cast<int64_t>(whole.size()));
  CHECK_EQ(whole.size(), request.rows.size() * size_t{400'000});
}

}  // namespace vitrine::test
