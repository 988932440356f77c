#include "cpu/kernels.h"

#include "cpu/tables.h"

namespace ifast::cpu {

Kernels kernels_for([[maybe_unused]] Isa isa, Dtype dtype) {
#ifdef IFAST_HAVE_AVX512
  if (isa == Isa::kAvx512) {
    Kernels kernels = kernels_avx512(dtype);
#ifdef IFAST_HAVE_AVX512BF16
    if (dtype == Dtype::kBFloat16 && has_bf16_dot()) add_dot_kernels_avx512bf16(kernels);
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
