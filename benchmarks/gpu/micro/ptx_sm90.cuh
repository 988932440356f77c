#pragma once

#include <cuda.h>

#include <cstdint>

#include "ptx/platform.cuh"

// Instructions of sm_90a that the kernels of csrc/ do not have (PTX ISA 8.0: "Asynchronous
// Warpgroup Level Matrix Instructions", "Data Movement and Conversion Instructions: Tensor copy",
// "mbarrier").
namespace ifast::micro {

// Makes what this thread wrote to shared memory visible to wgmma and to the copy engine.
IFAST_DEVICE void fence_async_proxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

IFAST_DEVICE void barrier_init(std::uint32_t barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// One arrival, and `bytes` more that this phase waits for.
IFAST_DEVICE void barrier_expect(std::uint32_t barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

// Whether the phase of that parity is complete; waits a while for it.
IFAST_DEVICE bool barrier_try_wait(std::uint32_t barrier, unsigned parity) {
  unsigned complete;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
      "selp.u32 %0, 1, 0, p;\n"
      "}\n"
      : "=r"(complete)
      : "r"(barrier), "r"(parity)
      : "memory");
  return complete != 0;
}

// Coordinates are elements, the innermost dimension first.
IFAST_DEVICE void copy_tile(std::uint32_t shared, const CUtensorMap* map, int channel, int row,
                            std::uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3}], [%4];" ::"r"(shared),
      "l"(map), "r"(channel), "r"(row), "r"(barrier)
      : "memory");
}

// `column`, `row`, `image`: of the first output pixel, times its stride, plus the box's lower
// corner. `dx`, `dy`: of the tap, from the window's first.
IFAST_DEVICE void copy_im2col(std::uint32_t shared, const CUtensorMap* map, int channel, int column,
                              int row, int image, unsigned short dx, unsigned short dy,
                              std::uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3, %4, %5}], [%6], {%7, %8};" ::"r"(shared),
      "l"(map), "r"(channel), "r"(column), "r"(row), "r"(image), "r"(barrier), "h"(dx), "h"(dy)
      : "memory");
}

// Contiguous bytes, a multiple of 16, both addresses too.
IFAST_DEVICE void copy_bulk(std::uint32_t shared, const void* global, unsigned bytes,
                            std::uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared),
      "l"(global), "r"(bytes), "r"(barrier)
      : "memory");
}

IFAST_DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
IFAST_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
IFAST_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// A matrix of fp16 whose rows are 64 elements of K, eight rows after the other, swizzled in 128
// bytes. Its address is a multiple of 1024. Adding `k * 2 / 16` to the descriptor moves along K.
IFAST_DEVICE std::uint64_t swizzled_matrix(std::uint32_t shared) {
  constexpr std::uint64_t kEightRows = 1024, kSwizzle128 = 1;
  // The leading offset counts only beyond the 128 bytes.
  return (shared & 0x3ffffu) >> 4 | std::uint64_t{1} << 16 | (kEightRows >> 4) << 32 |
         kSwizzle128 << 62;
}

// Byte of an element of such a matrix: the 16-byte pieces of a row change places with its row.
__host__ IFAST_DEVICE constexpr int swizzled_byte(int row, int k) {
  return row * 128 + ((k / 8) ^ (row % 8)) * 16 + k % 8 * 2;
}

}  // namespace ifast::micro
