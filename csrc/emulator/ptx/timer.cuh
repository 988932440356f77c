#pragma once

#include "ptx/platform.cuh"

namespace ifast::cuda::ptx {

// Every look at the clock is later than all before it, whoever's they were.
inline std::uint64_t nanoseconds() { return emulator::tick(); }

inline int multiprocessor() {
  return emulator::current->block->index % emulator::current->machine->launch().multiprocessors;
}

}  // namespace ifast::cuda::ptx
