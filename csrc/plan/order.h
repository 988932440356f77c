#pragma once

#include "plan/plan.h"

// The part of check() that follows a Plan through its stages. Expects that every index in it is in
// range, and that the stages list the steps in order. Both throw EngineError.
namespace ifast {

// Every channel is written exactly once, and in an earlier stage than any that reads it.
void check_order(const Plan& plan);

// No two buffers of the arena share memory in a stage in which both hold something.
void check_memory(const Plan& plan);

}  // namespace ifast
