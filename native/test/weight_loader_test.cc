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
