#include "cpu/kernels/kernels.h"
#include "cpu/kernels/tables.h"

namespace ifast::cpu {

namespace {

// AVX-512 without byte products gains nothing over AVX2 here.
Kernels int8_kernels_for([[maybe_unused]] Isa isa) {
#ifdef IFAST_HAVE_AVX512_VNNI
  if (isa == Isa::kAvx512 && has_int8_dot()) return int8_kernels_avx512_vnni();
#endif
#ifdef IFAST_HAVE_AVX2
  if (isa != Isa::kPortable) return int8_kernels_avx2();
#endif
  return int8_kernels_portable();
}

}  // namespace

Kernels kernels_for([[maybe_unused]] Isa isa, Dtype dtype) {
  if (dtype == Dtype::kUInt8) return int8_kernels_for(isa);
#ifdef IFAST_HAVE_AVX512
  if (isa == Isa::kAvx512) {
    Kernels kernels = kernels_avx512(dtype);
#ifdef IFAST_HAVE_AVX512_BF16
    if (dtype == Dtype::kBFloat16 && has_bf16_dot()) add_dot_kernels_avx512_bf16(kernels);
#endif
    return kernels;
  }
#endif
#ifdef IFAST_HAVE_AVX2
  if (isa == Isa::kAvx2) return kernels_avx2(dtype);
#endif
  return kernels_portable(dtype);
}

}  // namespace ifast::cpu
