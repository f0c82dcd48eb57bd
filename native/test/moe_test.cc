// Mixture of experts against the reference backend; each token alone has the bits it has in the batch.
#include <cmath>

#include "op_cases.h"
#include "op_test_support.h"
#include "reference_backend.h"
#include "test_framework.h"

namespace vitrine::test {
namespace {

/// Router and experts of one layer in one backend.
class MoeLayer {
 public:
  MoeLayer(Backend& backend, const MoeCase& shape, DType dtype, DType router_dtype) : backend_(backend), shape_(shape) {
    router_ = matrix(shape.experts, shape.hidden, router_dtype, 1, 1.0f);
    for (int32_t e = 0; e < shape.experts; ++e) {
      const auto seed = static_cast<uint32_t>(e) * 2 + 10;
      parameters_.push_back(matrix(2 * shape.inner, shape.hidden, dtype, seed, 0.3f));
      parameters_.push_back(matrix(shape.hidden, shape.inner, dtype, seed + 1, 0.3f));
      experts_.push_back({parameters_[parameters_.size() - 2].get(), parameters_.back().get()});
    }
  }

  /// `logits_dtype`: of the router's logits, which choose between experts that are close.
  std::vector<float> run(std::vector<float> x, DType logits_dtype = DType::kFloat32) {
    const auto tokens = static_cast<int64_t>(x.size()) / shape_.hidden;
    std::vector<float> logits(static_cast<size_t>(tokens * shape_.experts));
    ids.assign(static_cast<size_t>(tokens * shape_.top_k), -1);
    weights.assign(ids.size(), NAN);
    std::vector<float> out(x.size(), NAN);
    const MoeRouting routing{ids.data(), weights.data(), shape_.experts, shape_.top_k, shape_.normalize};
    const Tensor input = tensor_of(x, tokens, shape_.hidden);
    backend_.linear(*router_, nullptr, input, tensor_of(logits, tokens, shape_.experts));
    logits = rounded(std::move(logits), logits_dtype);
    backend_.moe_route(tensor_of(logits, tokens, shape_.experts), routing);
    backend_.moe_experts(input, routing, experts_, Activation::kSilu, tensor_of(out, tokens, shape_.hidden));
    return out;
  }

  std::vector<int32_t> ids;
  std::vector<float> weights;

 private:
  std::unique_ptr<Weight> matrix(int64_t rows, int64_t cols, DType dtype, uint32_t seed, float scale) {
    auto weight = backend_.create_weight(WeightKind::kMatrix, rows, cols, dtype);
    backend_.load_rows(*weight, 0, rows, random_floats(rows * cols, seed, scale).data(), DType::kFloat32);
    return weight;
  }

  Backend& backend_;
  const MoeCase& shape_;
  std::unique_ptr<Weight> router_;
  std::vector<std::unique_ptr<Weight>> parameters_;
  std::vector<ExpertWeights> experts_;
};

}  // namespace

OP_TEST("moe: every case equals the reference backend; tokens do not depend on each other") {
  const auto reference = make_reference_backend();
  const auto cases = moe_cases();
  for (size_t i = 0; i < cases.size(); ++i) {
    const MoeCase& shape = cases[i];
    for_each_backend(2, [&](Backend& backend, const std::string& isa) {
      const DType activations = backend.activation_dtype();
      const auto x = rounded(random_floats(shape.tokens * shape.hidden, 5), activations);
      for (const DType dtype : dtypes_of(backend)) {
        const std::string name = isa + " " + std::string(dtype_name(dtype)) + " case " + std::to_string(i);
        MoeLayer expected_layer(*reference, shape, dtype, activations);
        const auto expected = expected_layer.run(x, activations);
        MoeLayer layer(backend, shape, dtype, activations);
        const auto out = layer.run(x);
        // Three roundings on the way of 16-bit activations.
        const double tolerance = rounds_x(backend, dtype) ? 1e-2 : 5e-6 + 4 * rounding_of(activations);
        const double difference = largest_difference(out, expected);
        CHECK_MESSAGE(difference < tolerance, name + ": differs by " + shown(difference));
        CHECK_MESSAGE(layer.ids == expected_layer.ids, name);
        CHECK_MESSAGE(largest_difference(layer.weights, expected_layer.weights) < 1e-6, name);
        if (cuda_under_test()) continue;  // products with few tokens sum in another order there
        for (int64_t first = 0; first < shape.tokens; first += 1 + first / 4) {
          const std::vector<float> row(x.begin() + first * shape.hidden, x.begin() + (first + 1) * shape.hidden);
          const auto alone = layer.run(row);
          CHECK_MESSAGE(same_bits(alone.data(), out.data() + first * shape.hidden, shape.hidden), name);
        }
      }
    });
  }
}

OP_TEST("moe: equal router logits choose the lower ids; non-finite ones are refused, or make the weights NaN") {
  for_each_backend(1, [](Backend& backend, const std::string& isa) {
    std::vector<float> logits = {1, 2, 2, 0, 2, 2, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3};
    int32_t ids[6];
    float weights[6];
    backend.moe_route(tensor_of(logits, 2, 8), {ids, weights, 8, 3, true});
    const int32_t expected[] = {1, 2, 4, 0, 1, 2};
    for (int i = 0; i < 6; ++i) {
      CHECK_MESSAGE(ids[i] == expected[i], isa);
      CHECK_NEAR(weights[i], 1.0 / 3, 1e-7);
    }
    logits[9] = NAN;
    if (cuda_under_test()) {  // which cannot refuse without waiting for the device
      backend.moe_route(tensor_of(logits, 2, 8), {ids, weights, 8, 3, true});
      for (int i = 3; i < 6; ++i) CHECK(std::isnan(weights[i]) && ids[i] >= 0 && ids[i] < 8);
      return;
    }
    CHECK_THROWS_WITH(backend.moe_route(tensor_of(logits, 2, 8), {ids, weights, 8, 3, true}),
                      "non-finite router logits of token 1");
  });
}

}  // namespace vitrine::test
