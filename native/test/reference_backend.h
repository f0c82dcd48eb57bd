// A Backend as simple as can be, with sums in double: the independent answer that the decoder and every other backend
// are compared with. Weights and KV cache are rounded to the model's dtype, as everywhere.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace vitrine {

std::unique_ptr<Backend> make_reference_backend();

}  // namespace vitrine
