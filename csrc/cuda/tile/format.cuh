#pragma once

#include "ptx/matrix.cuh"
#include "ptx/number.cuh"

// The precisions: what an element is in memory, and how fragments of it are multiplied. Left and
// Right are fragments of activations and of packed weights, made ready once for all the products
// that they enter. kBlocks and
// kNetworkBlocks are those of a kernel that registers leave room for on a multiprocessor; with one
// more, ptxas spills.
namespace ifast::cuda {

struct Fp16 {
  static constexpr const char* kStageName = "stage_fp16";
  static constexpr const char* kThroughputName = "throughput_fp16";
  static constexpr const char* kPairName = "pair_fp16";
  static constexpr const char* kNetworkName = "network_fp16";
  static constexpr bool kSplits = false;
  static constexpr int kBlocks = 3;
  static constexpr int kNetworkBlocks = 3;

  using Element = std::uint16_t;
  using Left = const std::uint32_t*;
  using Right = const std::uint32_t*;

  static IFAST_DEVICE float load(Element bits) { return ptx::float_from_half(bits); }
  static IFAST_DEVICE Element store(float value) { return ptx::half_from_float(value); }
  static IFAST_DEVICE void multiply(float (&d)[4], const std::uint32_t* a, const std::uint32_t* b) {
    ptx::mma_f16(d, a, b);
  }
};

struct Bf16 {
  static constexpr const char* kStageName = "stage_bf16";
  static constexpr const char* kThroughputName = "throughput_bf16";
  static constexpr const char* kPairName = "pair_bf16";
  static constexpr const char* kNetworkName = "network_bf16";
  static constexpr bool kSplits = false;
  static constexpr int kBlocks = 3;
  static constexpr int kNetworkBlocks = 3;

  using Element = std::uint16_t;
  using Left = const std::uint32_t*;
  using Right = const std::uint32_t*;

  static IFAST_DEVICE float load(Element bits) { return ptx::float_from_bfloat16(bits); }
  static IFAST_DEVICE Element store(float value) { return ptx::bfloat16_from_float(value); }
  static IFAST_DEVICE void multiply(float (&d)[4], const std::uint32_t* a, const std::uint32_t* b) {
    ptx::mma_bf16(d, a, b);
  }
};

// A float32 number as the sum of two TF32 numbers, each in a float32 whose low 13 bits a product
// ignores. The first is the number rounded, ties away from zero; what is left has at most a bit
// more than the second keeps.
struct Tf32Split {
  static constexpr std::uint32_t kHalfUnit = 1u << 12, kKept = ~0x1fffu;

  std::uint32_t large;
  std::uint32_t small = 0;

  // Infinity has nothing left, where infinity less itself would be NaN.
  IFAST_DEVICE explicit Tf32Split(std::uint32_t bits) : large(bits) {
    const float value = ptx::float_from_bits(bits);
    if (!ptx::is_finite(value)) return;
    large += kHalfUnit;
    small = ptx::bits_from_float(value - ptx::float_from_bits(large & kKept));
  }
};

struct Tf32 {
  static constexpr const char* kStageName = "stage_tf32";
  static constexpr const char* kThroughputName = "throughput_tf32";
  static constexpr const char* kPairName = "pair_tf32";
  static constexpr const char* kNetworkName = "network_tf32";
  static constexpr bool kSplits = false;
  static constexpr int kBlocks = 3;
  static constexpr int kNetworkBlocks = 3;

  using Element = float;
  struct Left {
    std::uint32_t bits[4];

    IFAST_DEVICE Left(const std::uint32_t* from) {
      IFAST_UNROLL
      for (int i = 0; i < 4; ++i) bits[i] = Tf32Split(from[i]).large;
    }
  };
  using Right = const std::uint32_t*;  // rounded by pack_weights

  static IFAST_DEVICE float load(float value) { return value; }
  static IFAST_DEVICE float store(float value) { return value; }
  static IFAST_DEVICE void multiply(float (&d)[4], const Left& a, const std::uint32_t* b) {
    ptx::mma_tf32(d, a.bits, b);
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
  static constexpr bool kSplits = true;
  static constexpr int kBlocks = 2;
  static constexpr int kNetworkBlocks = 2;

  using Element = float;
  struct Left {
    std::uint32_t large[4], small[4];

    IFAST_DEVICE Left(const std::uint32_t* from) {
      IFAST_UNROLL
      for (int i = 0; i < 4; ++i) {
        const Tf32Split split(from[i]);
        large[i] = split.large;
        small[i] = split.small;
      }
    }
  };
  // pack_weights has made what is not finite survive this.
  struct Right {
    std::uint32_t large[2], small[2];

    IFAST_DEVICE Right(const std::uint32_t* from) {
      IFAST_UNROLL
      for (int i = 0; i < 2; ++i) {
        large[i] = (from[i] + Tf32Split::kHalfUnit) & Tf32Split::kKept;
        small[i] =
            ptx::bits_from_float(ptx::float_from_bits(from[i]) - ptx::float_from_bits(large[i]));
      }
    }
  };

  static IFAST_DEVICE float load(float value) { return value; }
  static IFAST_DEVICE float store(float value) { return value; }
  static IFAST_DEVICE void multiply(float (&d)[4], const Left& a, const Right& b) {
    float sum[4];
    ptx::mma_tf32_from_zero(sum, a.small, b.large);
    ptx::mma_tf32(sum, a.large, b.small);
    ptx::mma_tf32(sum, a.large, b.large);
    IFAST_UNROLL
    for (int i = 0; i < 4; ++i) d[i] += sum[i];
  }
};

}  // namespace ifast::cuda
