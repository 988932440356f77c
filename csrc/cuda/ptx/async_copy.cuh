#pragma once

#include "ptx/platform.cuh"

// cp.async (PTX ISA, "Data Movement and Conversion Instructions: Asynchronous copy").
namespace ifast::cuda::ptx {

// Copies `valid` bytes from global to shared memory and fills up to `kBytes` with zeros. Both
// addresses are multiples of kBytes, even where nothing is valid.
template <int kBytes>
IFAST_DEVICE void cp_async(std::uint32_t shared, const void* global, int valid) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global),
                 "r"(valid)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared), "l"(global),
                 "n"(kBytes), "r"(valid)
                 : "memory");
  }
}

IFAST_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Until at most kPending of this thread's latest groups have not landed.
template <int kPending>
IFAST_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace ifast::cuda::ptx
