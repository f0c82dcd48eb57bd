// Loading weights: types, offsets, stacked pieces, dummy numbers, and files that are not what they were.
#include "model/weight_loader.h"

#include <stdlib.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "core/check.h"
#include "core/mapped_file.h"
#include "model/dummy_weights.h"
#include "reference_backend.h"
#include "test_framework.h"
#include "tiny_model.h"

namespace vitrine::test {
namespace {

/// A file that is deleted with this.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& bytes) {
    const char* folder = getenv("TMPDIR");
    path_ = std::string(folder != nullptr ? folder : "/tmp") + "/vitrine-test-XXXXXX";
    const int descriptor = mkstemp(path_.data());
    require(descriptor >= 0, "cannot make ", path_);
    close(descriptor);
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

template <class T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

std::vector<float> row_of(Backend& backend, const Weight& table, int32_t id) {
  std::vector<float> row(static_cast<size_t>(table.cols()));
  backend.embed(table, &id, {row.data(), DType::kFloat32, 1, table.cols()});
  return row;
}

ParameterPlan& parameter(LoadPlan& plan, const std::string& name) {
  for (ParameterPlan& each : plan.parameters) {
    if (each.name == name) return each;
  }
  fail("no parameter ", name);
}

}  // namespace

TEST("weight_loader: pieces of all types at odd offsets") {
  ModelSpec spec = tiny_spec();
  spec.vocab_size = 6;
  std::string bytes = "odd";
  const auto value = [](int row, int col) { return static_cast<float>(row * 64 + col) / 256; };  // exact in all types
  for (int row = 0; row < 2; ++row) {
    for (int col = 0; col < 40; ++col) append(bytes, value(row, col));
  }
  for (int row = 2; row < 3; ++row) {
    for (int col = 0; col < 40; ++col) append(bytes, float_to_half(value(row, col)));
  }
  bytes += "!";
  const auto third = static_cast<int64_t>(bytes.size());
  for (int row = 3; row < 6; ++row) {
    for (int col = 0; col < 40; ++col) append(bytes, float_to_bf16(value(row, col)));
  }
  const TemporaryFile file(bytes);
  LoadPlan plan = dummy_plan(spec, 1);
  plan.files = {{file.path(), static_cast<int64_t>(bytes.size())}};
  parameter(plan, "embed_tokens").pieces = {
      {0, 3, DType::kFloat32, 2, "a"}, {0, 3 + 2 * 160, DType::kFloat16, 1, "b"}, {0, third, DType::kBFloat16, 3, "c"}};
  const auto backend = make_reference_backend();
  ThreadPool pool(2);
  const Weights weights = load_weights(spec, plan, *backend, pool);
  for (int row = 0; row < 6; ++row) {
    const auto loaded = row_of(*backend, *weights.embed_tokens, row);
    for (int col = 0; col < 40; ++col) {
      const float expected = row < 3 ? value(row, col) : bf16_to_float(float_to_bf16(value(row, col)));
      CHECK_EQ(loaded[static_cast<size_t>(col)], expected);
    }
  }
}

TEST("weight_loader: float8 rows with one scale or one each, beside rows that are quantized") {
  ModelSpec spec = tiny_spec();
  spec.layers[1].float8.o_proj = true;  // [40, 60]
  std::string bytes = "odd";
  std::vector<float> expected;
  const auto put_codes = [&](int rows, auto scale_of_row) {
    const auto offset = static_cast<int64_t>(bytes.size());
    for (int row = 0; row < rows; ++row) {
      for (int col = 0; col < 60; ++col) {
        const auto code = static_cast<uint8_t>((row * 60 + col) % 127 | (col % 2 << 7));
        bytes += static_cast<char>(code);
        expected.push_back(e4m3_to_float(code) * scale_of_row(row));
      }
    }
    return offset;
  };
  const int64_t first = put_codes(25, [](int) { return 0.5f; });
  const int64_t second = put_codes(15, [](int row) { return 0.25f * static_cast<float>(row); });
  const auto scale = static_cast<int64_t>(bytes.size());
  append(bytes, 0.5f);
  const auto scales = static_cast<int64_t>(bytes.size());
  for (int row = 0; row < 15; ++row) append(bytes, float_to_bf16(0.25f * static_cast<float>(row)));
  const auto bad = static_cast<int64_t>(bytes.size());
  append(bytes, -1.0f);
  const TemporaryFile file(bytes);
  LoadPlan plan = dummy_plan(spec, 1);
  plan.files = {{file.path(), static_cast<int64_t>(bytes.size())}};
  constexpr DType kFloat8 = DType::kFloat8E4M3;
  auto& pieces = parameter(plan, "layers.1.o_proj").pieces;
  pieces = {{0, first, kFloat8, 25, "a", PieceScales{0, scale, DType::kFloat32, 1, "a_scale"}},
            {0, second, kFloat8, 15, "b", PieceScales{0, scales, DType::kBFloat16, 15, "b_scale"}}};
  const auto backend = make_reference_backend();
  ThreadPool pool(2);
  const auto load = [&] { return load_weights(spec, plan, *backend, pool); };
  const Weights weights = load();
  for (int col = 0; col < 60; ++col) {
    std::vector<float> x(60);
    x[static_cast<size_t>(col)] = 1;  // the largest code
    std::vector<float> out(40);
    backend->linear(*weights.layers[1].o_proj, nullptr, {x.data(), DType::kFloat32, 1, 60},
                    {out.data(), DType::kFloat32, 1, 40});
    for (size_t row = 0; row < 40; ++row) {
      const float value = expected[row * 60 + static_cast<size_t>(col)];
      CHECK_NEAR(out[row], value, 1e-6 * std::abs(value));
    }
  }
  CHECK_EQ(weights.layers[1].o_proj->bytes(), size_t{40 * 60});

  pieces[1].scales->count = 14;
  CHECK_THROWS_WITH(load(), "tensor b_scale: expected 1 or 15 scales, got 14");
  pieces[1].scales->count = 15;
  pieces[1].scales->offset = bad;
  CHECK_THROWS_WITH(load(), "tensor b_scale (15 rows of 2 bytes at offset " + std::to_string(bad) + ") ends outside");
  pieces[1].scales = PieceScales{0, bad, DType::kFloat32, 1, "b_scale"};
  CHECK_THROWS_WITH(load(), "tensor b_scale: expected finite scales that are not negative, got -1 at 0");
  pieces[1].scales.reset();
  CHECK_THROWS_WITH(load(), "tensor b: expected scales for float8_e4m3fn");
  pieces[1] = {0, first, DType::kBFloat16, 15, "b", PieceScales{0, scale, DType::kFloat32, 1, "b_scale"}};
  CHECK_THROWS_WITH(load(), "for no other type");
  pieces[1] = {0, second, kFloat8, 15, "b", PieceScales{0, scale, DType::kFloat32, 1, "b_scale"}};
  spec.layers[1].float8.o_proj = false;
  CHECK_THROWS_WITH(load(), "it is stored in float8_e4m3fn, the model holds it in float32");
}

TEST("weight_loader: a parameter larger than one chunk") {
  ModelSpec spec = tiny_spec();
  spec.vocab_size = 450'000;  // 72 MB in float32
  LoadPlan plan = dummy_plan(spec, 5);
  const auto backend = make_reference_backend();
  ThreadPool pool(2);
  const Weights weights = load_weights(spec, plan, *backend, pool);
  const DummyWeights dummy(5);
  std::vector<float> expected(40);
  for (const int32_t row : {0, 419'327, 419'328, 419'329, 449'999}) {
    dummy.fill("embed_tokens", int64_t{row} * 40, 40, pool, expected.data());
    CHECK(row_of(*backend, *weights.embed_tokens, row) == expected);
  }
}

TEST("weight_loader: a file of another size, and one that is cut while it is mapped") {
  const TemporaryFile file(std::string(100'000, 'x'));
  CHECK_THROWS_WITH(MappedFile(file.path(), 99'999), "expected a file of 99999 bytes");
  CHECK_THROWS_WITH(MappedFile(file.path() + ".gone", 1), "cannot open " + file.path() + ".gone");
  const MappedFile mapped(file.path(), 100'000);
  CHECK_EQ(std::memcmp(mapped.fetch(99'990, 10), "xxxxxxxxxx", 10), 0);
  mapped.release(0, 100'000);
  CHECK_EQ(static_cast<const char*>(mapped.fetch(5, 90'000))[0], 'x');
  CHECK_EQ(truncate(file.path().c_str(), 50'000), 0);
  CHECK_THROWS_WITH(mapped.fetch(0, 10), "got 50000 bytes");
}

TEST("weight_loader: missing and surplus parameters are named") {
  ModelSpec spec = tiny_spec();
  spec.qk_norm = true;
  const auto backend = make_reference_backend();
  ThreadPool pool(1);
  LoadPlan plan = dummy_plan(spec, 1);
  spec.qk_norm = false;
  CHECK_THROWS_WITH(load_weights(spec, plan, *backend, pool), "layers.0.q_norm: the model has no such parameter");
  plan = dummy_plan(spec, 1);
  plan.parameters.erase(plan.parameters.begin() + 3);
  const std::string missing = "parameter layers.0.o_proj [40, 60]: missing";
  CHECK_THROWS_WITH(load_weights(spec, plan, *backend, pool), missing);
}

TEST("dummy_weights: N(0, 0.02), the same for every split and pool, norms are 1") {
  constexpr int64_t kCount = 400'001;
  const DummyWeights dummy(42);
  ThreadPool one(1);
  ThreadPool two(2);
  std::vector<float> whole(kCount);
  dummy.fill("layers.1.qkv_proj", 0, kCount, one, whole.data());
  std::vector<float> parts(kCount);
  for (int64_t first = 0; first < kCount; first += 70'003) {
    const int64_t count = std::min<int64_t>(70'003, kCount - first);
    dummy.fill("layers.1.qkv_proj", first, count, two, parts.data() + first);
  }
  CHECK(parts == whole);

  double sum = 0;
  double squares = 0;
  double beyond_two = 0;
  for (const float value : whole) {
    sum += value;
    squares += double{value} * value;
    beyond_two += std::abs(value) > 0.04f ? 1 : 0;
  }
  CHECK_NEAR(sum / kCount, 0, 2e-4);
  CHECK_NEAR(std::sqrt(squares / kCount), 0.02, 1e-4);
  CHECK_NEAR(beyond_two / kCount, 0.0455, 2e-3);

  std::vector<float> other(kCount);
  dummy.fill("layers.2.qkv_proj", 0, kCount, one, other.data());
  CHECK(other != whole);
  DummyWeights(43).fill("layers.1.qkv_proj", 0, kCount, one, other.data());
  CHECK(other != whole);
  dummy.fill("layers.1.post_attention_norm", 0, 7, one, other.data());
  CHECK_EQ(other[0], 1.0f);
  CHECK_EQ(other[6], 1.0f);
}

}  // namespace vitrine::test
