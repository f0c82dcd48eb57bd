// The start-up objects of src/native/addon.ts, read and checked.
#pragma once

#include <napi.h>

#include "engine/engine.h"
#include "model/load_plan.h"

namespace vitrine {

/// EngineConfig: spec, threads and a factory for the backend it names.
EngineOptions read_engine_config(Napi::Value value);
LoadPlan read_load_plan(Napi::Value value);
CacheConfig read_cache_config(Napi::Value value);

}  // namespace vitrine
