// What all blocks of one forward pass share. Valid for that pass.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "cache/paged_kv_cache.h"
#include "model/decoder_sites.h"
#include "model/model_spec.h"
#include "model/workspace.h"
#include "profiler/tracer.h"

namespace vitrine {

/// The tokens of a step in device memory, lengths as in ForwardBatch.
struct DeviceBatch {
  int32_t num_tokens = 0;
  int32_t num_rows = 0;
  const int32_t* token_ids = nullptr;   ///< [T], slot references allowed
  const int32_t* positions = nullptr;   ///< [T]
  const int32_t* kv_slots = nullptr;    ///< [T]
  const int32_t* row_tokens = nullptr;  ///< [L]
  AttentionBatch attention;
};

struct ForwardContext {
  const ModelSpec& spec;
  Backend& backend;
  Workspace& workspace;
  const PagedKvCache& cache;
  const RopeTable& rope;
  const DeviceBatch& batch;
  Tracer& tracer;
};

}  // namespace vitrine
