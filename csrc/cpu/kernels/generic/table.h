#pragma once

#include "cpu/kernels/generic/channels.h"
#include "cpu/kernels/generic/depthwise.h"
#include "cpu/kernels/generic/gemm.h"
#include "cpu/kernels/generic/peak.h"
#include "cpu/kernels/generic/pointwise.h"
#include "cpu/kernels/generic/rows.h"
#include "cpu/kernels/generic/winograd.h"

// The table of kernels for the Vec that was included before.
namespace ifast::cpu {
namespace {

template <class T>
Kernels make_kernels() {
  Kernels k;
  k.lanes = Vec::kLanes;
  k.gemm_rows = kGemmRows;
  k.gemm_vectors = kGemmVectors;
  fill_gemm<FloatUnit, T>(k.gemm);
  fill_gemm<FloatUnit, float>(k.gemm_raw);
  fill_winograd<T>(k.winograd);
  k.peak = peak<T>;
  k.max_pool = each_pixel<T, T, max_pool<T>>;
  k.average_pool = each_pixel<T, T, average_pool<T>>;
  k.pointwise = pointwise<T>;
  k.blend = blend<T>;
  k.normalize = normalize<T>;
  k.depthwise = depthwise<T>;
  k.softmax = softmax<T>;
  k.local_response = local_response<T>;
  k.gate = gate<T>;
  k.widen = widen_row<T>;
  k.multiply_add_loop = multiply_add_loop;
  return k;
}

inline Kernels make_kernels(Dtype dtype) {
  switch (dtype) {
    case Dtype::kFloat16:
      return make_kernels<Half>();
    case Dtype::kBFloat16:
      return make_kernels<BFloat16>();
    default:
      return make_kernels<float>();
  }
}

}  // namespace
}  // namespace ifast::cpu
