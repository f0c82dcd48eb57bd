// Where each parameter's bytes lie, as src/native/addon.ts defines it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace vitrine {

struct PieceScales {
  int32_t file = 0;
  int64_t offset = 0;
  DType dtype = DType::kFloat32;
  int64_t count = 1;  ///< one for all rows, or one for each
  std::string source;
};

struct TensorPiece {
  int32_t file = -1;  ///< index into LoadPlan::files, -1 = dummy
  int64_t offset = 0;
  DType dtype = DType::kFloat32;
  int64_t rows = 0;
  std::string source;
  std::optional<PieceScales> scales = std::nullopt;  ///< of float8
};

struct ParameterPlan {
  std::string name;
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<TensorPiece> pieces;
};

/// Where packed weights are kept for later processes.
struct WeightCachePlan {
  std::string directory;
  std::string identity;  ///< of all that decides the weights' numbers
  bool wait = true;      ///< for another process that writes the file, rather than throw WeightCacheLocked
};

struct LoadPlan {
  struct File {
    std::string path;
    int64_t bytes = 0;
  };
  std::vector<File> files;
  std::vector<ParameterPlan> parameters;
  uint64_t dummy_seed = 0;
  std::optional<WeightCachePlan> cache;
};

}  // namespace vitrine
