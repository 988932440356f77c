#include "cpu/kernels/avx512/vec.h"
// The Vec comes first: the kernels are written over it.
#include "cpu/kernels/generic/gemm.h"
#include "cpu/kernels/generic/rows.h"
#include "cpu/kernels/generic/winograd.h"
#include "cpu/kernels/tables.h"

namespace ifast::cpu {
namespace {

// A unit is a pair of bfloat16; vdpbf16ps adds both products to the float32 sum.
struct PairUnit : FloatSums {
  static Vec load_weights(const char* b) { return load(reinterpret_cast<const float*>(b)); }
  static Vec load_pixel(const float* a) { return broadcast(*a); }
  static Vec multiply_add(Vec pixel, Vec weights, Vec sum) {
    return {_mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(pixel.v),
                             reinterpret_cast<__m512bh>(weights.v))};
  }
};

// Maximum of bfloat16 as integers: with all bits of negative numbers but the sign turned over, they
// have the order of the numbers, and NaN is beyond either infinity.
void max_pool_bf16(const PoolCall& call) {
  const __m512i magnitude = _mm512_set1_epi16(0x7fff);
  const auto key = [&](__m512i bits) {
    return _mm512_xor_si512(bits, _mm512_and_si512(_mm512_srai_epi16(bits, 15), magnitude));
  };
  const auto* source = static_cast<const std::uint16_t*>(call.source);
  constexpr int kLanes = 32;
  for (int c = 0; c < call.channels; c += kLanes) {
    const int n = call.channels - c < kLanes ? call.channels - c : kLanes;
    const __mmask32 some = n == kLanes ? ~__mmask32{0} : (__mmask32{1} << n) - 1;
    __m512i most = key(_mm512_maskz_loadu_epi16(some, source + c)), least = most;
    for (int y = 0; y < call.rows; ++y) {
      const std::uint16_t* pixel = source + y * call.row_stride + c;
      for (int x = 0; x < call.columns; ++x, pixel += call.column_stride) {
        const __m512i k = key(_mm512_maskz_loadu_epi16(some, pixel));
        most = _mm512_max_epi16(most, k);
        least = _mm512_min_epi16(least, k);
      }
    }
    // A NaN without the sign is the most already.
    const __m512i lowest = key(_mm512_set1_epi16(static_cast<short>(0xff80)));
    const __mmask32 negative_nan = _mm512_cmplt_epi16_mask(least, lowest);
    most = _mm512_mask_mov_epi16(most, negative_nan, magnitude);
    if (call.relu) most = _mm512_max_epi16(most, _mm512_setzero_si512());
    _mm512_mask_storeu_epi16(static_cast<std::uint16_t*>(call.out) + c, some, key(most));
  }
}

}  // namespace

void add_dot_kernels_avx512_bf16(Kernels& kernels) {
  fill_gemm<PairUnit, BFloat16>(kernels.gemm_dot);
  fill_gemm<PairUnit, float>(kernels.gemm_dot_raw);
  // Rounding to bfloat16 is one instruction here.
  fill_gemm<FloatUnit, BFloat16>(kernels.gemm);
  fill_winograd<BFloat16>(kernels.winograd);
  kernels.max_pool = each_pixel<BFloat16, BFloat16, max_pool_bf16>;
  unroll<kWinogradSizeCount>([&](auto i) {
    constexpr WinogradSize s = kWinogradSizes[i.value];
    kernels.winograd[i.value].input_dot =
        winograd_input<BFloat16, BFloat16, s.points, s.dimensions>;
  });
}

}  // namespace ifast::cpu
