#pragma once

#include <cuda.h>
#include <cudaTypedefs.h>

#include "micro/harness.h"

// Tensor maps of an NHWC tensor of 16-bit elements; boxes are pixels by 64 channels, swizzled in
// 128 bytes. The driver's functions are found at run time: libcuda is not linked.
namespace ifast::micro {

inline constexpr int kBoxChannels = 64, kPixelBytes = 128;

struct Image {
  int count, height, width, channels;
  int pixels() const { return count * height * width; }
};

struct Window {
  int height, width, pad_y, pad_x, stride;
  int out_height(const Image& image) const {
    return (image.height + 2 * pad_y - height) / stride + 1;
  }
  int out_width(const Image& image) const { return (image.width + 2 * pad_x - width) / stride + 1; }
};

template <class Function>
Function driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found;
  MICRO_CHECK(cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found));
  if (found != cudaDriverEntryPointSuccess || function == nullptr) {
    throw Failure(std::string(name) + ": not in this driver");
  }
  return reinterpret_cast<Function>(function);
}

inline void check(CUresult status, const char* call) {
  if (status != CUDA_SUCCESS)
    throw Failure(std::string(call) + ": CUresult " + std::to_string(status));
}

// The tensor as a matrix of pixels by channels.
inline CUtensorMap tiled_map(void* data, const Image& image, int pixels) {
  static const auto encode =
      driver_function<PFN_cuTensorMapEncodeTiled_v12000>("cuTensorMapEncodeTiled");
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(image.channels),
                              static_cast<cuuint64_t>(image.pixels())};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(image.channels) * 2};
  const cuuint32_t box[] = {kBoxChannels, static_cast<cuuint32_t>(pixels)}, steps[] = {1, 1};
  CUtensorMap map;
  check(encode(&map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, data, sizes, strides, box, steps,
               CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
               CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "cuTensorMapEncodeTiled");
  return map;
}

// Boxes walk over output pixels in the order of columns, rows, images. The corners bound where the
// first tap of the window may lie, columns first.
inline CUtensorMap im2col_map(void* data, const Image& image, const Window& window, int pixels) {
  static const auto encode =
      driver_function<PFN_cuTensorMapEncodeIm2col_v12000>("cuTensorMapEncodeIm2col");
  const auto channels = static_cast<cuuint64_t>(image.channels);
  const auto width = static_cast<cuuint64_t>(image.width);
  const auto height = static_cast<cuuint64_t>(image.height);
  const cuuint64_t sizes[] = {channels, width, height, static_cast<cuuint64_t>(image.count)};
  const cuuint64_t strides[] = {channels * 2, width * channels * 2, height * width * channels * 2};
  const int lower[] = {-window.pad_x, -window.pad_y};
  const int upper[] = {window.pad_x - (window.width - 1), window.pad_y - (window.height - 1)};
  const auto stride = static_cast<cuuint32_t>(window.stride);
  const cuuint32_t steps[] = {1, stride, stride, 1};
  CUtensorMap map;
  check(encode(&map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 4, data, sizes, strides, lower, upper,
               kBoxChannels, static_cast<cuuint32_t>(pixels), steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
               CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
               CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "cuTensorMapEncodeIm2col");
  return map;
}

}  // namespace ifast::micro
