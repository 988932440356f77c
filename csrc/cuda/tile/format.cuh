#pragma once

#include "ptx/matrix.cuh"
#include "ptx/number.cuh"

// The precisions: what an element is in memory, and how fragments of it are multiplied.
namespace ifast::cuda {

struct Fp16 {
  using Element = std::uint16_t;
  static IFAST_DEVICE float load(Element bits) { return ptx::float_from_half(bits); }
  static IFAST_DEVICE Element store(float value) { return ptx::half_from_float(value); }
  static IFAST_DEVICE void multiply(float (&d)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t* b) {
    ptx::mma_f16(d, a, b);
  }
};

struct Bf16 {
  using Element = std::uint16_t;
  static IFAST_DEVICE float load(Element bits) { return ptx::float_from_bfloat16(bits); }
  static IFAST_DEVICE Element store(float value) { return ptx::bfloat16_from_float(value); }
  static IFAST_DEVICE void multiply(float (&d)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t* b) {
    ptx::mma_bf16(d, a, b);
  }
};

struct Float {
  using Element = float;
  static IFAST_DEVICE float load(float value) { return value; }
  static IFAST_DEVICE float store(float value) { return value; }
};

struct Tf32 : Float {
  static IFAST_DEVICE void multiply(float (&d)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t* b) {
    std::uint32_t ra[4], rb[2];
    for (int i = 0; i < 4; ++i) ra[i] = ptx::tf32_from_float(ptx::float_from_bits(a[i]));
    for (int i = 0; i < 2; ++i) rb[i] = ptx::tf32_from_float(ptx::float_from_bits(b[i]));
    ptx::mma_tf32(d, ra, rb);
  }
};

// float32 out of three TF32 products: each operand is the sum of two TF32 numbers, and the product
// of the two small ones is left out. Tensor cores truncate their sums, which over a long K costs
// more than the promise allows, so each product starts from zero and is added outside, rounded to
// nearest: Ootomo and Yokota, "Recovering single precision accuracy from Tensor Cores while
// surpassing the FP32 theoretical peak performance", 2022.
struct Fp32 : Float {
  static IFAST_DEVICE void split(std::uint32_t bits, std::uint32_t& large, std::uint32_t& small) {
    const float value = ptx::float_from_bits(bits);
    large = ptx::tf32_from_float(value);
    const float rest = value - ptx::float_from_bits(large);
    // Infinity less itself is NaN, which would spoil sums that stay infinite.
    small = rest == rest ? ptx::tf32_from_float(rest) : 0u;
  }
  static IFAST_DEVICE void multiply(float (&d)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t* b) {
    std::uint32_t large_a[4], small_a[4], large_b[2], small_b[2];
    for (int i = 0; i < 4; ++i) split(a[i], large_a[i], small_a[i]);
    for (int i = 0; i < 2; ++i) split(b[i], large_b[i], small_b[i]);
    float sum[4] = {};
    ptx::mma_tf32(sum, small_a, large_b);
    ptx::mma_tf32(sum, large_a, small_b);
    ptx::mma_tf32(sum, large_a, large_b);
    for (int i = 0; i < 4; ++i) d[i] += sum[i];
  }
};

}  // namespace ifast::cuda
