#pragma once

#include <atomic>

#include "ptx/platform.cuh"

namespace ifast::cuda::ptx {

inline void block_barrier() { emulator::current->machine->block_barrier(); }

inline void warp_barrier() {
  emulator::Machine& machine = *emulator::current->machine;
  if (!machine.meet("bar.warp.sync", nullptr)) return;
  emulator::current->warp->barrier_time = ++emulator::current->block->cluster->clock;
  machine.release_warp();
}

inline float shuffle_xor(float value, int mask) {
  struct Operands {
    float value;
    int mask;
    float* result;
  };
  float result;
  const Operands operands{value, mask, &result};
  emulator::Machine& machine = *emulator::current->machine;
  if (machine.meet("shfl.sync.bfly", &operands)) {
    emulator::Lane* lanes = emulator::current->warp->lanes;
    const auto of = [&](int lane) { return static_cast<const Operands*>(lanes[lane].operands); };
    for (int lane = 0; lane < emulator::kWarpSize; ++lane) {
      *of(lane)->result = of((lane ^ of(lane)->mask) % emulator::kWarpSize)->value;
    }
    machine.release_warp();
  }
  return result;
}

// Launches overlap as much as they may, wherever this is.
inline void launch_dependents() {}
inline void wait_for_earlier_launches() { emulator::current->machine->wait_for_earlier_launches(); }

// What other blocks had released at the counter when this load saw it is known from the lane's next
// fence on, and nothing that they release later.
inline unsigned load_relaxed(const unsigned* address) {
  emulator::Machine& machine = *emulator::current->machine;
  if (machine.omission() == emulator::Omission::kCounterWait) return ~0u;
  unsigned* counter = machine.check_counter(address);
  const unsigned value = std::atomic_ref<unsigned>(*counter).load(std::memory_order_relaxed);
  machine.observe(address);
  return value;
}

inline void fence() { emulator::current->machine->fence(); }

inline unsigned add_release(unsigned* address, unsigned value) {
  emulator::Machine& machine = *emulator::current->machine;
  machine.note_progress();
  unsigned* counter = machine.check_counter(address);
  machine.release(address);
  return std::atomic_ref<unsigned>(*counter).fetch_add(value, std::memory_order_acq_rel);
}

inline unsigned add_acquire_release(unsigned* address, unsigned value) {
  const unsigned before = add_release(address, value);
  emulator::current->machine->acquire(address);
  return before;
}

inline void pause() { emulator::current->machine->pause(); }

inline void trap() { emulator::current->machine->fault("gives up"); }

}  // namespace ifast::cuda::ptx
