#pragma once

#include <cstring>

#include "cuda/vector.h"
#include "ptx/platform.cuh"

namespace ifast::cuda::ptx {

inline void read_shared(std::uint32_t address, void* to, std::uint32_t bytes) {
  emulator::Machine& machine = *emulator::current->machine;
  machine.expect(emulator::current->block->shared.read(machine.access(), address, to, bytes));
}

inline void write_shared(std::uint32_t address, const void* from, std::uint32_t bytes) {
  emulator::Machine& machine = *emulator::current->machine;
  machine.expect(emulator::current->block->shared.write(machine.access(), address, from, bytes));
}

template <class T>
T load_global(const T* address) {
  T value;
  std::memcpy(&value, emulator::current->machine->check_global(address, sizeof(T), false),
              sizeof(T));
  return value;
}

template <class T>
void store_global(T* address, T value) {
  emulator::Machine& machine = *emulator::current->machine;
  machine.note_progress();
  std::memcpy(machine.check_global(address, sizeof(T), true), &value, sizeof(T));
}

inline Vector load_global_vector(const void* address) {
  return load_global(static_cast<const Vector*>(address));
}

inline void store_global_vector(void* address, const Vector& v) {
  store_global(static_cast<Vector*>(address), v);
}

// Counted, so that a test can tell what a loop reads.
template <class T>
T load_record(const T* address) {
  emulator::Machine& machine = *emulator::current->machine;
  ++machine.counts.records;
  T value;
  std::memcpy(static_cast<void*>(&value), machine.check_bytes(address, sizeof(T), false),
              sizeof(T));
  return value;
}

struct Words {
  std::uint32_t first, second;
};

inline Words load_shared_words(std::uint32_t address) {
  Words w;
  read_shared(address, &w, sizeof w);
  return w;
}

inline void store_shared_words(std::uint32_t address, std::uint32_t first, std::uint32_t second) {
  const Words both{first, second};
  write_shared(address, &both, sizeof both);
}

inline Vector load_shared_vector(std::uint32_t address) {
  Vector v;
  read_shared(address, &v, sizeof v);
  return v;
}

inline void store_shared_vector(std::uint32_t address, const Vector& v) {
  write_shared(address, &v, sizeof v);
}

inline void store_shared_pair(std::uint32_t address, float first, float second) {
  const float both[2] = {first, second};
  write_shared(address, both, sizeof both);
}

}  // namespace ifast::cuda::ptx
