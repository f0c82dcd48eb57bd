// Brings a model's parameters from mapped checkpoint files (or out of nothing, for dummy weights) into the backend, or
// has it borrow them from a cache of packed weights.
#pragma once

#include "backend/backend.h"
#include "core/thread_pool.h"
#include "model/load_plan.h"
#include "model/model_spec.h"
#include "model/weights.h"

namespace vitrine {

/// Throws Error naming file, parameter and tensor: a file of another size, a missing, surplus or doubled parameter, a
/// wrong shape, a piece outside its file, a scale that is none. Throws WeightCacheLocked where the plan's cache says
/// not to wait. The pages of the files do not stay resident. Where the plan has a cache that cannot be used the weights
/// are packed into memory, and their origin says why. Called by the engine thread.
Weights load_weights(const ModelSpec& spec, const LoadPlan& plan, Backend& backend, ThreadPool& pool);

}  // namespace vitrine
