#pragma once

#include "ptx/platform.cuh"

namespace ifast::cuda::ptx {

// The copy is made when its group is waited for, the last moment that the ISA allows.
template <int kBytes>
void cp_async(std::uint32_t shared, const void* global, int valid) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  emulator::Lane& lane = *emulator::current;
  emulator::Machine& machine = *lane.machine;
  if (valid < 0 || valid > kBytes) machine.fault("cp.async of a size out of range");
  if (reinterpret_cast<std::uintptr_t>(global) % kBytes != 0) {
    machine.fault("cp.async from an address that is not aligned");
  }
  // The valid bytes alone are read, and they need not be a power of two.
  const void* from =
      valid > 0 ? machine.check_bytes(global, static_cast<std::size_t>(valid), false) : nullptr;
  machine.expect(lane.block->shared.begin_copy(machine.access(), shared, kBytes));
  lane.copies.push_back({shared, from, kBytes, static_cast<std::uint32_t>(valid)});
  ++lane.issued;
  ++machine.counts.async_copies;
  if (kBytes == 16) ++machine.counts.async_copies_16;
}

inline void cp_async_commit() { emulator::current->groups.push_back(emulator::current->issued); }

template <int kPending>
void cp_async_wait() {
  emulator::current->machine->land_copies(kPending);
}

}  // namespace ifast::cuda::ptx
