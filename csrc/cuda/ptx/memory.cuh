#pragma once

#include "cuda/vector.h"
#include "ptx/platform.cuh"

// Loads and stores of registers. Kernels touch activations, weights and shared memory in no other
// way, so that the emulator sees every access.
namespace ifast::cuda::ptx {

// In assembly, because the compiler may take vector accesses in C++ apart. Volatile keeps them
// behind the waits that make their memory valid.
IFAST_DEVICE Vector load_global_vector(const void* address) {
  Vector v;
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.word[0]), "=r"(v.word[1]), "=r"(v.word[2]), "=r"(v.word[3])
               : "l"(address));
  return v;
}

IFAST_DEVICE void store_global_vector(void* address, const Vector& v) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(v.word[0]),
               "r"(v.word[1]), "r"(v.word[2]), "r"(v.word[3])
               : "memory");
}

// Any trivial type of 1, 2, 4 or 8 bytes.
template <class T>
IFAST_DEVICE T load_global(const T* address) {
  return *address;
}

template <class T>
IFAST_DEVICE void store_global(T* address, T value) {
  *address = value;
}

// A struct that no launch writes. It is read where this is called, and again at each call that an
// instruction with a memory clobber lies before: what a loop needs is a local variable.
template <class T>
IFAST_DEVICE T load_record(const T* address) {
  return *address;
}

struct Words {
  std::uint32_t first, second;
};

IFAST_DEVICE Words load_shared_words(std::uint32_t address) {
  Words w;
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];"
               : "=r"(w.first), "=r"(w.second)
               : "r"(address)
               : "memory");
  return w;
}

IFAST_DEVICE void store_shared_words(std::uint32_t address, std::uint32_t first,
                                     std::uint32_t second) {
  asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(address), "r"(first), "r"(second)
               : "memory");
}

IFAST_DEVICE Vector load_shared_vector(std::uint32_t address) {
  Vector v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.word[0]), "=r"(v.word[1]), "=r"(v.word[2]), "=r"(v.word[3])
               : "r"(address)
               : "memory");
  return v;
}

IFAST_DEVICE void store_shared_vector(std::uint32_t address, const Vector& v) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.word[0]),
               "r"(v.word[1]), "r"(v.word[2]), "r"(v.word[3])
               : "memory");
}

IFAST_DEVICE void store_shared_pair(std::uint32_t address, float first, float second) {
  asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(first), "f"(second)
               : "memory");
}

}  // namespace ifast::cuda::ptx
