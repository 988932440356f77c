#pragma once

#include <cstddef>
#include <cstdint>

#include "emulator/machine.h"

#define IFAST_DEVICE inline
#define IFAST_KERNEL(threads, blocks) void
#define IFAST_ARGUMENTS const
#define IFAST_UNROLL
#define IFAST_ROLL

namespace ifast::cuda::ptx {

inline int thread_index() { return emulator::current->thread; }
inline int block_index() { return emulator::current->block->index; }
inline int grid_size() { return emulator::current->machine->launch().blocks; }

// Shared addresses of the emulator start at zero.
inline std::uint32_t shared_memory() { return 0; }

template <class T>
T keep(T value) {
  return value;
}

}  // namespace ifast::cuda::ptx
