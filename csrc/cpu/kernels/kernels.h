#pragma once

#include <cstddef>

#include "cpu/kernels/channel_calls.h"
#include "cpu/kernels/isa.h"
#include "plan/plan.h"

// What the operators call: one table of functions per instruction set and storage dtype.
// Activations are void* of the storage dtype; strides count elements; arithmetic is in float32.
namespace ifast::cpu {

inline constexpr int kMaxGemmRows = 14;
inline constexpr int kMaxGemmVectors = 2;

// How the int32 sums of a quantised convolution become its result: sum * scale +
// (residual - residual_zero) * residual_scale, rounded and moved by zero where it is an element.
struct Requantization {
  const float* scale = nullptr;  // [vectors * lanes], in units of the result
  float residual_scale = 0;      // in units of the result
  int residual_zero = 0;
  int zero = 0;
};

// out[m][n] = act(bias[n] + sum over k of a[m][k] * b[k][n] + residual[m][n]), summed in order of
// k. A row of A is `segments` runs of `segment_length` units of 4 bytes (a float32, two
// bfloat16, or the elements of a quantised Plan); run s of row m starts at a + m * row_stride +
// offsets[s].
struct GemmCall {
  const void* a = nullptr;
  std::ptrdiff_t row_stride = 0;
  const std::ptrdiff_t* offsets = nullptr;
  int segments = 1;
  int segment_length = 0;
  const void* b = nullptr;      // [units][vectors * lanes]
  const float* bias = nullptr;  // [vectors * lanes]; in a quantised Plan the bits of int32
  const Requantization* requantization = nullptr;  // in a quantised Plan
  const void* residual = nullptr;
  std::ptrdiff_t residual_stride = 0;
  void* out = nullptr;
  std::ptrdiff_t out_stride = 0;
  int columns = 0;  // written, at most vectors * lanes
  bool relu = false;
  // Memory to bring into the second-level cache meanwhile, a cache line for each unit; any address.
  const void* prefetch = nullptr;
  // Ask for the ownership of `out` first: its cache lines may be another processor's.
  bool prefetch_out = false;
};
using Gemm = void (*)(const GemmCall&);

// Pairs of outputs, even and odd, of a quantised convolution by F(2, 3) (docs/int8.md). A row of A
// has the units of the points that the outputs share, first of their sum, then of their difference,
// `shared_units` each; then `own_units` of the even output's own point and as many of the odd
// one's. B has two panels side by side in each unit: of sum and difference, then of even and odd.
struct TwinGemmCall {
  GemmCall gemm;  // out and residual are of pixel 0; of the K only a, row_stride and b count
  const int* pixels = nullptr;      // [rows][2] of the outputs, -1 for one outside the image
  const float* odd_bias = nullptr;  // the even outputs' is in gemm
  int shared_units = 0;
  int own_units = 0;
};
using TwinGemm = void (*)(const TwinGemmCall&);

// What F(2, 3) multiplies, of pairs of outputs side by side: from four input pixels, or from two
// that are multiplied as they are.
struct TwinInput {
  int tiles = 1;
  const void* pixels[4] = {};      // of the first tile
  std::ptrdiff_t strides[4] = {};  // of each pixel from tile to tile, in elements
  int channels = 0;
  float* out = nullptr;
  std::ptrdiff_t out_stride = 0;     // units
  std::ptrdiff_t positions[4] = {};  // units: even's own, sum, difference, odd's own
};

// A tile of Winograd convolution: `outputs` from `points` inputs along each of `dimensions` axes.
// With one dimension the axis is the tile's columns; for a vertical one, swap rows and columns.
struct WinogradSize {
  int outputs;
  int points;
  int dimensions;

  constexpr int taps() const { return points - outputs + 1; }
  constexpr int positions() const { return dimensions == 1 ? points : points * points; }
};
inline constexpr WinogradSize kWinogradSizes[] = {{4, 6, 1}, {3, 6, 1}, {6, 8, 1}, {3, 9, 1},
                                                  {2, 4, 2}, {4, 6, 2}, {6, 8, 2}, {4, 8, 2}};
inline constexpr int kWinogradSizeCount = sizeof(kWinogradSizes) / sizeof(kWinogradSizes[0]);

// Input pixels of tiles that are alike, side by side; rows and columns outside [begin, end) are the
// zeros of the padding.
struct WinogradInput {
  int tiles = 1;
  std::ptrdiff_t tile_stride = 0;      // of pixels
  std::ptrdiff_t out_tile_stride = 0;  // elements of out
  const void* pixel = nullptr;  // of the first tile's corner, which may lie outside the image
  std::ptrdiff_t row_stride = 0;
  std::ptrdiff_t column_stride = 0;
  int row_begin = 0;
  int row_end = 0;
  int column_begin = 0;
  int column_end = 0;
  int channels = 0;
  void* out = nullptr;  // [positions][channels] of float32, or of bfloat16 for the dot product
  std::ptrdiff_t position_stride = 0;
};

// Output pixels of tiles that are alike, side by side; [rows][columns] of each lie in the image.
struct WinogradOutput {
  int tiles = 1;
  std::ptrdiff_t in_tile_stride = 0;
  std::ptrdiff_t tile_stride = 0;  // of pixels
  std::ptrdiff_t residual_tile_stride = 0;
  const float* in = nullptr;  // [positions][channels]
  std::ptrdiff_t position_stride = 0;
  const float* bias = nullptr;  // padded to whole vectors
  const void* residual = nullptr;
  std::ptrdiff_t residual_row_stride = 0;
  std::ptrdiff_t residual_column_stride = 0;
  void* pixel = nullptr;
  std::ptrdiff_t row_stride = 0;
  std::ptrdiff_t column_stride = 0;
  int rows = 0;
  int columns = 0;
  int channels = 0;
  bool relu = false;
};

struct WinogradKernels {
  void (*input)(const WinogradInput&) = nullptr;
  void (*input_dot)(const WinogradInput&) = nullptr;  // null where not native
  void (*output)(const WinogradOutput&) = nullptr;
};

// Output pixels side by side: maximum, or average + bias, over windows inside the image that
// are alike. In a quantised Plan scale, of sums, and bias are in units of the result, of the
// maximum too.
struct PoolCall {
  int pixels = 1;
  std::ptrdiff_t window_stride = 0;  // from one pixel's window to the next one's
  std::ptrdiff_t out_stride = 0;
  const void* source = nullptr;
  std::ptrdiff_t row_stride = 0;
  std::ptrdiff_t column_stride = 0;
  int rows = 0;
  int columns = 0;
  int channels = 0;
  float scale = 1.0f;       // of a quantised Plan
  float share = 1.0f;       // of a pixel in an average of float sums, rounded towards zero
  float share_rest = 0.0f;  // what that took, as much of every result
  const float* bias = nullptr;
  int source_zero = 0;
  int zero = 0;  // of the result
  bool relu = false;
  void* out = nullptr;
};
using Pool = void (*)(const PoolCall&);

// act(source * scale + shift + other) over pixels; null parts are the identity. `out` may be where
// an operand is.
struct PointwiseCall {
  const void* source = nullptr;
  std::ptrdiff_t source_stride = 0;
  const void* other = nullptr;
  std::ptrdiff_t other_stride = 0;
  const float* scale = nullptr;
  const float* shift = nullptr;
  bool relu = false;
  const ElementFunction* function = nullptr;  // in place of a ReLU
  void* out = nullptr;
  std::ptrdiff_t out_stride = 0;
  int pixels = 0;
  int channels = 0;
};

// Weighted sum of four pixels, in order.
struct BlendCall {
  const void* corners[4] = {};
  float weights[4] = {};
  int channels = 0;
  bool relu = false;
  void* out = nullptr;
};

// pixel / max(its L2 norm, eps).
struct NormalizeCall {
  const void* source = nullptr;
  int channels = 0;
  float eps = 0;
  bool relu = false;
  void* out = nullptr;
};

// n pixels of numbers, each `channels` (at most 4) that lie channel_stride apart, become units of
// elements that stand for scale * (element - zero).
struct QuantizePixelsCall {
  const float* source = nullptr;
  std::ptrdiff_t column_stride = 0;
  std::ptrdiff_t channel_stride = 0;
  int channels = 0;
  float scale = 1.0f;
  int zero = 0;
  float* out = nullptr;
  int pixels = 0;
};

struct Kernels {
  int lanes = 0;
  int gemm_rows = 0;
  int gemm_vectors = 0;
  Gemm gemm[kMaxGemmRows][kMaxGemmVectors] = {};      // float32 A, stored in the storage dtype
  Gemm gemm_raw[kMaxGemmRows][kMaxGemmVectors] = {};  // float32 A, stored as float32
  Gemm gemm_dot[kMaxGemmRows][kMaxGemmVectors] = {};  // pairs of bfloat16; null where not native
  Gemm gemm_dot_raw[kMaxGemmRows][kMaxGemmVectors] = {};  // the same, stored as float32
  WinogradKernels winograd[kWinogradSizeCount] = {};
  // The largest |x| of pixels side by side; infinity where one is NaN.
  float (*peak)(const void* source, std::ptrdiff_t stride, int pixels, int channels) = nullptr;
  Pool max_pool = nullptr;
  Pool average_pool = nullptr;
  // Of quantised Plans, whose A are units of elements: `gemm` and the pools store elements,
  // `gemm_raw` and these float32 for an output.
  Pool max_pool_raw = nullptr;
  Pool average_pool_raw = nullptr;
  int unit_channels = 1;  // in 4 bytes
  TwinGemm twin_gemm[kMaxGemmRows / 2][kMaxGemmVectors] = {};
  TwinGemm twin_gemm_raw[kMaxGemmRows / 2][kMaxGemmVectors] = {};
  void (*twin_input)(const TwinInput&) = nullptr;
  void (*twin_copy)(const TwinInput&) = nullptr;                      // of two pixels
  void (*gather)(const void* source, float* units, int n) = nullptr;  // n channels into units
  // n numbers, `stride` apart, to elements that stand for scale * (element - zero), and back.
  void (*quantize)(const float* source, std::ptrdiff_t stride, void* out, int n, float scale,
                   int zero, bool relu) = nullptr;
  void (*quantize_pixels)(const QuantizePixelsCall&) = nullptr;
  void (*dequantize)(const void* source, float* out, int n, float scale, int zero) = nullptr;
  void (*pointwise)(const PointwiseCall&) = nullptr;
  void (*blend)(const BlendCall&) = nullptr;
  void (*normalize)(const NormalizeCall&) = nullptr;
  void (*depthwise)(const DepthwiseCall&) = nullptr;
  void (*softmax)(const SoftmaxCall&) = nullptr;
  void (*local_response)(const LocalResponseCall&) = nullptr;
  void (*gate)(const GateCall&) = nullptr;
  // n elements of the storage dtype, `stride` apart, to contiguous float32.
  void (*widen)(const void* source, std::ptrdiff_t stride, float* out, int n) = nullptr;
  // Multiplies and adds in registers; returns the operations of one of its `steps`.
  int (*multiply_add_loop)(int steps) = nullptr;
};

// dtype: float32, float16, bfloat16 or uint8. The bfloat16 dot product is in the table where the
// processor has it and isa is AVX-512.
Kernels kernels_for(Isa isa, Dtype dtype);

}  // namespace ifast::cpu
