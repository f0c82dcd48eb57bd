// Checks a load plan against the spec, then converts piece by piece.
#include "model/weight_loader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/check.h"
#include "core/mapped_file.h"
#include "model/dummy_weights.h"
#include "model/weight_cache.h"

namespace vitrine {
namespace {

/// Source bytes that are resident at a time. Whole panels of rows, whatever the backend packs by.
constexpr int64_t kChunkBytes = int64_t{64} << 20;
constexpr int64_t kChunkRowMultiple = 256;

/// Of a type that scales may have; possibly unaligned.
float read_float(const char* bytes, DType dtype) {
  if (dtype == DType::kFloat32) {
    float value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
  }
  uint16_t word;
  std::memcpy(&word, bytes, sizeof word);
  return dtype == DType::kFloat16 ? half_to_float(word) : bf16_to_float(word);
}

int64_t chunk_rows(int64_t row_bytes) {
  return std::max<int64_t>(1, kChunkBytes / (row_bytes * kChunkRowMultiple)) * kChunkRowMultiple;
}

class WeightLoader {
 public:
  WeightLoader(const LoadPlan& plan, Backend& backend, ThreadPool& pool) : plan_(plan), backend_(backend), pool_(pool) {
    files_.reserve(plan.files.size());
    for (const LoadPlan::File& file : plan.files) files_.emplace_back(file.path, file.bytes);
  }

  WeightPtr load(const ParameterPlan& parameter, const ParameterSlot& slot) {
    require(parameter.rows == slot.rows && parameter.cols == slot.cols, "parameter ", parameter.name,
            sources(parameter), ": expected shape [", slot.rows, ", ", slot.cols, "], got [", parameter.rows, ", ",
            parameter.cols, "]");
    int64_t rows = 0;
    for (const TensorPiece& piece : parameter.pieces) {
      check_piece(parameter, piece, slot.dtype);
      rows += piece.rows;
    }
    require(rows == parameter.rows, "parameter ", parameter.name, sources(parameter), ": expected pieces of ",
            parameter.rows, " rows in all, got ", rows);

    auto weight = backend_.create_weight(slot.kind, slot.rows, slot.cols, slot.dtype);
    int64_t first_row = 0;
    for (const TensorPiece& piece : parameter.pieces) {
      if (piece.file < 0) {
        fill(parameter, piece, first_row, *weight);
      } else {
        copy(parameter, piece, first_row, *weight);
      }
      first_row += piece.rows;
    }
    return weight;
  }

 private:
  static std::string sources(const ParameterPlan& parameter) {
    std::string text;
    for (const TensorPiece& piece : parameter.pieces) text += (text.empty() ? " (from " : ", ") + piece.source;
    return text.empty() ? text : text + ")";
  }

  void check_piece(const ParameterPlan& parameter, const TensorPiece& piece, DType held) const {
    require(piece.rows >= 1, "parameter ", parameter.name, ": expected at least one row of ", piece.source, ", got ",
            piece.rows);
    if (piece.file < 0) return;
    check_place(parameter, piece.source, piece.file, piece.offset, piece.rows,
                parameter.cols * static_cast<int64_t>(dtype_size(piece.dtype)));
    const bool quantized = piece.dtype == DType::kFloat8E4M3;
    require(quantized == piece.scales.has_value(), "parameter ", parameter.name, ", tensor ", piece.source,
            ": expected scales for ", dtype_name(DType::kFloat8E4M3), " and for no other type");
    if (!quantized) return;
    const PieceScales& scales = *piece.scales;
    require(held == DType::kFloat8E4M3, "parameter ", parameter.name, ", tensor ", piece.source, ": it is stored in ",
            dtype_name(piece.dtype), ", the model holds it in ", dtype_name(held));
    require(scales.count == 1 || scales.count == piece.rows, "parameter ", parameter.name, ", tensor ", scales.source,
            ": expected 1 or ", piece.rows, " scales, got ", scales.count);
    check_place(parameter, scales.source, scales.file, scales.offset, scales.count,
                static_cast<int64_t>(dtype_size(scales.dtype)));
  }

  void check_place(const ParameterPlan& parameter, const std::string& source, int32_t index, int64_t offset,
                   int64_t rows, int64_t row_bytes) const {
    require(index >= 0 && static_cast<size_t>(index) < files_.size(), "parameter ", parameter.name, ", tensor ", source,
            ": expected a file index below ", files_.size(), ", got ", index);
    const MappedFile& file = files_[static_cast<size_t>(index)];
    require(offset >= 0 && offset <= file.bytes() && rows <= (file.bytes() - offset) / row_bytes, file.path(),
            ": tensor ", source, " (", rows, " rows of ", row_bytes, " bytes at offset ", offset,
            ") ends outside the file's ", file.bytes(), " bytes");
  }

  /// One for each row of the piece; none where it has none.
  std::vector<float> row_scales(const TensorPiece& piece) const {
    if (!piece.scales) return {};
    const PieceScales& stored = *piece.scales;
    const MappedFile& file = files_[static_cast<size_t>(stored.file)];
    const auto size = static_cast<int64_t>(dtype_size(stored.dtype));
    const char* bytes = static_cast<const char*>(file.fetch(stored.offset, stored.count * size));
    std::vector<float> scales(static_cast<size_t>(piece.rows));
    for (int64_t row = 0; row < piece.rows; ++row) {
      const int64_t index = stored.count == 1 ? 0 : row;
      const float scale = read_float(bytes + index * size, stored.dtype);
      require(std::isfinite(scale) && scale >= 0, file.path(), ": tensor ", stored.source,
              ": expected finite scales that are not negative, got ", scale, " at ", index);
      scales[static_cast<size_t>(row)] = scale;
    }
    return scales;
  }

  void copy(const ParameterPlan& parameter, const TensorPiece& piece, int64_t first_row, Weight& weight) {
    const MappedFile& file = files_[static_cast<size_t>(piece.file)];
    const int64_t row_bytes = parameter.cols * static_cast<int64_t>(dtype_size(piece.dtype));
    const std::vector<float> scales = row_scales(piece);
    const int64_t step = chunk_rows(row_bytes);
    for (int64_t done = 0; done < piece.rows; done += step) {
      const int64_t rows = std::min(step, piece.rows - done);
      const int64_t offset = piece.offset + done * row_bytes;
      const void* const source = file.fetch(offset, rows * row_bytes);
      if (scales.empty()) {
        backend_.load_rows(weight, first_row + done, rows, source, piece.dtype);
      } else {
        backend_.load_quantized_rows(weight, first_row + done, rows, source, scales.data() + done);
      }
      backend_.synchronize();
      file.release(offset, rows * row_bytes);
    }
  }

  void fill(const ParameterPlan& parameter, const TensorPiece& piece, int64_t first_row, Weight& weight) {
    if (!dummy_) dummy_.emplace(plan_.dummy_seed);
    const int64_t step = chunk_rows(parameter.cols * static_cast<int64_t>(sizeof(float)));
    for (int64_t done = 0; done < piece.rows; done += step) {
      const int64_t rows = std::min(step, piece.rows - done);
      numbers_.resize(static_cast<size_t>(rows * parameter.cols));
      dummy_->fill(parameter.name, (first_row + done) * parameter.cols, rows * parameter.cols, pool_, numbers_.data());
      backend_.load_rows(weight, first_row + done, rows, numbers_.data(), DType::kFloat32);
      backend_.synchronize();
    }
  }

  const LoadPlan& plan_;
  Backend& backend_;
  ThreadPool& pool_;
  std::optional<DummyWeights> dummy_;  ///< made when the first dummy piece comes
  std::vector<MappedFile> files_;
  std::vector<float> numbers_;
};

/// keep(slot, weight) of every parameter, in the order of the plan.
template <class Keep>
void load_parameters(const std::vector<ParameterSlot>& slots, const LoadPlan& plan, Backend& backend, ThreadPool& pool,
                     Keep keep) {
  std::unordered_map<std::string_view, const ParameterSlot*> missing;
  for (const ParameterSlot& slot : slots) missing.emplace(slot.name, &slot);
  std::unordered_set<std::string_view> loaded;

  WeightLoader loader(plan, backend, pool);
  for (const ParameterPlan& parameter : plan.parameters) {
    require(!loaded.contains(parameter.name), "parameter ", parameter.name, ": it is in the plan twice");
    const auto found = missing.find(parameter.name);
    require(found != missing.end(), "parameter ", parameter.name, ": the model has no such parameter");
    const ParameterSlot& slot = *found->second;
    keep(slot, loader.load(parameter, slot));
    missing.erase(found);
    loaded.insert(parameter.name);
  }
  for (const ParameterSlot& slot : slots) {
    require(!missing.contains(slot.name), "parameter ", slot.name, " [", slot.rows, ", ", slot.cols,
            "]: missing in the plan");
  }
}

/// All weights borrowed from the plan's cache file, which is written first where there is none that holds them. Throws
/// WeightCacheError where that cannot be.
Weights load_through_cache(const ModelSpec& spec, const LoadPlan& plan, Backend& backend, ThreadPool& pool) {
  Weights weights;
  const std::vector<ParameterSlot> slots = parameter_slots(spec, weights);
  WeightCache cache(*plan.cache, slots, backend);
  weights.origin = {WeightOrigin::Place::kMapped, cache.path(), {}};
  weights.mapping = cache.map();
  if (weights.mapping == nullptr) {
    cache.lock();
    weights.mapping = cache.map();  // who had the lock may have written it
  }
  if (weights.mapping == nullptr) {
    weights.origin.place = WeightOrigin::Place::kWritten;
    cache.create();
    load_parameters(slots, plan, backend, pool,
                    [&](const ParameterSlot& slot, const WeightPtr& weight) { cache.write(slot, *weight); });
    weights.mapping = cache.publish();
  }
  weights.origin.problem = cache.problem();
  for (const ParameterSlot& slot : slots) *slot.slot = cache.borrow(slot, *weights.mapping);
  return weights;
}

}  // namespace

Weights load_weights(const ModelSpec& spec, const LoadPlan& plan, Backend& backend, ThreadPool& pool) {
  WeightOrigin origin;
  if (plan.cache) {
    try {
      return load_through_cache(spec, plan, backend, pool);
    } catch (const WeightCacheError& error) {
      origin.problem = error.what();
    }
  }
  Weights weights;
  weights.origin = std::move(origin);
  load_parameters(parameter_slots(spec, weights), plan, backend, pool,
                  [](const ParameterSlot& slot, WeightPtr weight) { *slot.slot = std::move(weight); });
  return weights;
}

}  // namespace vitrine
