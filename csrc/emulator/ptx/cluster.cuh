#pragma once

#include "ptx/memory.cuh"
#include "ptx/sync.cuh"

namespace ifast::cuda::ptx {

inline int cluster_rank() { return emulator::current->block->rank; }

inline Vector load_cluster_vector(std::uint32_t address, int rank) {
  emulator::Machine& machine = *emulator::current->machine;
  Vector v;
  machine.expect(machine.shared_memory_of(rank).read(machine.access(), address, &v, sizeof v));
  return v;
}

inline void cluster_arrive() { emulator::current->machine->cluster_arrive(); }
inline void cluster_wait() { emulator::current->machine->cluster_wait(); }

}  // namespace ifast::cuda::ptx
