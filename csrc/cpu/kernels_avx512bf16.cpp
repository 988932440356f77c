#include "cpu/simd/vec_avx512.h"
// The Vec comes first: the kernels are written over it.
#include "cpu/simd/gemm.h"
#include "cpu/simd/winograd.h"
#include "cpu/tables.h"

namespace ifast::cpu {
namespace {

// A unit is a pair of bfloat16; vdpbf16ps adds both products to the float32 sum.
struct PairUnit {
  static Vec load_weights(const char* b) { return load(reinterpret_cast<const float*>(b)); }
  static Vec load_pixel(const float* a) { return broadcast(*a); }
  static Vec multiply_add(Vec pixel, Vec weights, Vec sum) {
    return {_mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(pixel.v),
                             reinterpret_cast<__m512bh>(weights.v))};
  }
};

}  // namespace

void add_dot_kernels_avx512bf16(Kernels& kernels) {
  fill_gemm<PairUnit, BFloat16>(kernels.gemm_dot);
  fill_gemm<PairUnit, float>(kernels.gemm_dot_raw);
  // Rounding to bfloat16 is one instruction here.
  fill_gemm<FloatUnit, BFloat16>(kernels.gemm);
  fill_winograd<BFloat16>(kernels.winograd);
  unroll<kWinogradSizeCount>([&](auto i) {
    constexpr WinogradSize s = kWinogradSizes[i.value];
    kernels.winograd[i.value].input_dot =
        winograd_input<BFloat16, BFloat16, s.points, s.dimensions>;
  });
}

}  // namespace ifast::cpu
