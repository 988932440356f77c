#pragma once

#include "ptx/matrix.cuh"
#include "ptx/number.cuh"

// The precisions: what an element is in memory, and how fragments of it are multiplied. An Operand
// is a fragment of n registers made ready once for all the products that it enters. kBlocks and
// kNetworkBlocks are those of a kernel that registers leave room for on a multiprocessor; with one
// more, ptxas spills.
namespace ifast::cuda {

struct Fp16 {
  static constexpr const char* kStageName = "stage_fp16";
  static constexpr const char* kPairName = "pair_fp16";
  static constexpr const char* kNetworkName = "network_fp16";
  static constexpr int kBlocks = 4;
  static constexpr int kNetworkBlocks = 3;

  using Element = std::uint16_t;
  template <int n>
  using Operand = const std::uint32_t*;

  static IFAST_DEVICE float load(Element bits) { return ptx::float_from_half(bits); }
  static IFAST_DEVICE Element store(float value) { return ptx::half_from_float(value); }
  static IFAST_DEVICE void multiply(float (&d)[4], const std::uint32_t* a, const std::uint32_t* b) {
    ptx::mma_f16(d, a, b);
  }
};

struct Bf16 {
  static constexpr const char* kStageName = "stage_bf16";
  static constexpr const char* kPairName = "pair_bf16";
  static constexpr const char* kNetworkName = "network_bf16";
  static constexpr int kBlocks = 4;
  static constexpr int kNetworkBlocks = 3;

  using Element = std::uint16_t;
  template <int n>
  using Operand = const std::uint32_t*;

  static IFAST_DEVICE float load(Element bits) { return ptx::float_from_bfloat16(bits); }
  static IFAST_DEVICE Element store(float value) { return ptx::bfloat16_from_float(value); }
  static IFAST_DEVICE void multiply(float (&d)[4], const std::uint32_t* a, const std::uint32_t* b) {
    ptx::mma_bf16(d, a, b);
  }
};

struct Tf32 {
  static constexpr const char* kStageName = "stage_tf32";
  static constexpr const char* kPairName = "pair_tf32";
  static constexpr const char* kNetworkName = "network_tf32";
  static constexpr int kBlocks = 4;
  static constexpr int kNetworkBlocks = 3;

  using Element = float;
  template <int n>
  struct Operand {
    std::uint32_t bits[n];

    IFAST_DEVICE Operand(const std::uint32_t* from) {
      IFAST_UNROLL
      for (int i = 0; i < n; ++i) bits[i] = ptx::tf32_from_float(ptx::float_from_bits(from[i]));
    }
  };

  static IFAST_DEVICE float load(float value) { return value; }
  static IFAST_DEVICE float store(float value) { return value; }
  static IFAST_DEVICE void multiply(float (&d)[4], const Operand<4>& a, const Operand<2>& b) {
    ptx::mma_tf32(d, a.bits, b.bits);
  }
};

// float32 out of three TF32 products: each operand is the sum of two TF32 numbers, and the product
// of the two small ones is left out. Tensor cores truncate their sums, which over a long K costs
// more than the promise allows, so each product starts from zero and is added outside, rounded to
// nearest: Ootomo and Yokota, "Recovering single precision accuracy from Tensor Cores while
// surpassing the FP32 theoretical peak performance", 2022.
struct Fp32 {
  static constexpr const char* kStageName = "stage_fp32";
  static constexpr const char* kPairName = "pair_fp32";
  static constexpr const char* kNetworkName = "network_fp32";
  static constexpr int kBlocks = 2;
  static constexpr int kNetworkBlocks = 2;

  using Element = float;
  template <int n>
  struct Operand {
    std::uint32_t large[n], small[n];

    IFAST_DEVICE Operand(const std::uint32_t* from) {
      IFAST_UNROLL
      for (int i = 0; i < n; ++i) {
        const float value = ptx::float_from_bits(from[i]);
        large[i] = ptx::tf32_from_float(value);
        const float rest = value - ptx::float_from_bits(large[i]);
        // Infinity less itself is NaN, which would spoil sums that stay infinite.
        small[i] = rest == rest ? ptx::tf32_from_float(rest) : 0u;
      }
    }
  };

  static IFAST_DEVICE float load(float value) { return value; }
  static IFAST_DEVICE float store(float value) { return value; }
  static IFAST_DEVICE void multiply(float (&d)[4], const Operand<4>& a, const Operand<2>& b) {
    float sum[4] = {};
    ptx::mma_tf32(sum, a.small, b.large);
    ptx::mma_tf32(sum, a.large, b.small);
    ptx::mma_tf32(sum, a.large, b.large);
    IFAST_UNROLL
    for (int i = 0; i < 4; ++i) d[i] += sum[i];
  }
};

}  // namespace ifast::cuda
