#pragma once

#include "plan/json.h"

namespace ifast {

// The tensors that the description of a model's outputs asks for, counted as
// inception_fast/plan/structure.py does. Throws EngineError where it is no description.
std::size_t tensors_in(const json::Object& structure);

}  // namespace ifast
