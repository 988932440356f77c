#pragma once

#include "emulator/matrix.h"
#include "ptx/platform.cuh"

namespace ifast::cuda::ptx {

// The last lane of the warp to arrive runs the instruction for all of them.
inline void ldmatrix(std::uint32_t (&r)[4], std::uint32_t row) {
  const emulator::MatrixRow operands{r, row};
  emulator::Machine& machine = *emulator::current->machine;
  if (!machine.meet("ldmatrix", &operands)) return;
  emulator::load_matrices();
  machine.release_warp();
}

inline void multiply(emulator::Format format, const char* instruction, float* d,
                     const std::uint32_t* a, const std::uint32_t* b) {
  const emulator::Fragments operands{d, a, b};
  emulator::Machine& machine = *emulator::current->machine;
  if (!machine.meet(instruction, &operands)) return;
  emulator::multiply_matrices(format);
  machine.release_warp();
}

inline void mma_f16(float (&d)[4], const std::uint32_t* a, const std::uint32_t* b) {
  multiply(emulator::Format::kHalf, "mma.f16", d, a, b);
}
inline void mma_bf16(float (&d)[4], const std::uint32_t* a, const std::uint32_t* b) {
  multiply(emulator::Format::kBFloat16, "mma.bf16", d, a, b);
}
inline void mma_tf32(float (&d)[4], const std::uint32_t* a, const std::uint32_t* b) {
  multiply(emulator::Format::kTf32, "mma.tf32", d, a, b);
}

inline void mma_tf32_from_zero(float (&d)[4], const std::uint32_t* a, const std::uint32_t* b) {
  for (float& value : d) value = 0.0f;
  mma_tf32(d, a, b);
}

}  // namespace ifast::cuda::ptx
