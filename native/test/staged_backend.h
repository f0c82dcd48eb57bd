// A backend with memory of its own, made to look as if its tensors were float32 in host memory: every op copies its
// operands there and its results back. The case tables of the op tests run through it on a GPU unchanged.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace vitrine::test {

/// activation_dtype() is the device's: what is no number of it is rounded on the way. `device` must outlive it.
std::unique_ptr<Backend> make_staged_backend(Backend& device);

}  // namespace vitrine::test
