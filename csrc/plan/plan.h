#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "plan/function.h"

// The Plan as inception_fast/plan/plan.py defines it: steps over one arena, NHWC, sizes and offsets
// in elements per image. For a batch of N, an arena buffer occupies arena[N * offset, N * (offset +
// size)).
namespace ifast {

// A file or a Plan that breaks its rules; the message says which part, what came and what was
// expected.
class EngineError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Of Plans, kUInt8 being the quantised ones; and of constants, which may be kInt8 and kInt32
// besides.
enum class Dtype { kFloat32, kFloat16, kBFloat16, kFloat64, kUInt8, kInt8, kInt32 };

constexpr std::size_t size_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::kFloat64:
      return 8;
    case Dtype::kFloat32:
    case Dtype::kInt32:
      return 4;
    case Dtype::kUInt8:
    case Dtype::kInt8:
      return 1;
    default:
      return 2;
  }
}

// Of biases, scales and sums in a Plan of `dtype`; of a quantised convolution's only the scales.
constexpr Dtype accumulator_of(Dtype dtype) {
  return dtype == Dtype::kFloat64 ? Dtype::kFloat64 : Dtype::kFloat32;
}

// Of the tensors that come in, but bytes, and go out.
constexpr Dtype outside_of(Dtype dtype) { return dtype == Dtype::kUInt8 ? Dtype::kFloat32 : dtype; }

// The name that PyTorch and the file use ("float32").
std::string_view name_of(Dtype dtype);

// Elements; arena offsets are multiples of it.
inline constexpr std::int64_t kAlignment = 64;

struct Pair {
  int vertical = 0;
  int horizontal = 0;
};

enum class Home { kInput, kArena, kOutput };

struct Buffer {
  std::string name;
  int height = 0;
  int width = 0;
  int channels = 0;
  Home home = Home::kArena;
  std::int64_t offset = 0;  // into the arena; 0 for the caller's memory
  // In a kUInt8 Plan an element q stands for scale * (q - zero); the input is rounded to that when
  // it is read, the outputs are float32 and have no scale. Bytes have scale 1 and zero 0.
  std::optional<double> scale = std::nullopt;
  int zero = 0;
  // kUInt8 of an input of bytes, which PadSteps alone read.
  std::optional<Dtype> dtype = std::nullopt;

  std::int64_t size() const { return std::int64_t{height} * width * channels; }
};

// Channels [start, start + channels) of plan.buffers[buffer].
struct Slice {
  int buffer = 0;
  int start = 0;
  int channels = 0;
};

// A function of each element, as inception_fast/activation.py defines it; NaN stays NaN.
struct Activation {
  Function function = Function::kSigmoid;
  double alpha = 0;
  double beta = 0;
  std::optional<std::string> slope = std::nullopt;  // constant [C], accumulator_of(plan.dtype)
};

// Where consecutive output channels of a step go, and what is applied to them.
struct Destination {
  Slice slice;
  bool relu = false;
  // Of a ConvStep, a DepthwiseStep or a PointwiseStep, without a ReLU; of a ConvStep not in a
  // kUInt8 Plan.
  std::optional<Activation> activation = std::nullopt;
};

enum class Axis { kVertical, kHorizontal };

// Of the outputs to a convolution. An algorithm that adds the relative error n to the sums, as
// noise, and w to the weights uses up the share (noise * n)^2 + (weights * w)^2 of what may be
// added in the whole Plan.
struct Sensitivity {
  double noise = 0;
  double weights = 0;
};

// out[y, x, o] = bias[o] + sum over t, c of weight[o, t, c] * in[y * stride.vertical +
// taps[t].vertical, x * stride.horizontal + taps[t].horizontal, c]; pixels outside the image are
// zero.
struct Convolution {
  std::string weight;               // constant [C_out, T, C_in] in the Plan's dtype
  std::optional<std::string> bias;  // constant [C_out], accumulator_of(plan.dtype)
  // In a kUInt8 Plan: constant [C_out] float32, what a weight of 1 stands for. The weight is kInt8
  // then and the bias kInt32, in units of the source's scale times this one.
  std::optional<std::string> scale;
  int in_channels = 0;
  int out_channels = 0;
  std::vector<Pair> taps;
  Pair stride;
  // In a kUInt8 Plan: outputs are computed two by two along it, by Winograd's F(2, 3); the weight
  // is [C_out, WinogradTaps::weights(), C_in] then.
  std::optional<Axis> winograd = std::nullopt;
  // Where it is missing, an algorithm is free to add what it adds. Not in a kUInt8 Plan.
  std::optional<Sensitivity> sensitivity = std::nullopt;
};

struct ConvStep {
  std::string name;
  Slice source;
  Convolution conv;
  std::vector<Destination> destinations;  // cover the output channels in order
  std::optional<Slice> residual;          // added before the activation
};

// second(relu?(first(source))); the intermediate is middle_height x middle_width.
struct PairStep {
  std::string name;
  Slice source;
  Convolution first;
  bool first_relu = false;
  int middle_height = 0;
  int middle_width = 0;
  Convolution second;
  std::vector<Destination> destinations;
  std::optional<Slice> residual;
};

// out[y, x, c] = bias[c] + sum over t of weight[t, c] * in[y * stride.vertical + taps[t].vertical,
// x * stride.horizontal + taps[t].horizontal, c]; pixels outside the image are zero.
struct DepthwiseStep {
  std::string name;
  Slice source;
  Destination destination;
  std::string weight;               // constant [T, C] in the Plan's dtype, or kFloat32 of kUInt8
  std::optional<std::string> bias;  // constant [C], accumulator_of(plan.dtype)
  std::vector<Pair> taps;
  Pair stride;
};

enum class PoolMode { kMax, kAverage };
enum class Divisor { kWindow, kInside };

// Windows start at -padding and are clipped to the image; act(average + bias). kWindow divides by
// the kernel's area clipped to the padded image, kInside by the pixels inside the image. Where it
// is adaptive, window i of the n along an axis of `size` pixels is [i * size / n, ceil((i + 1) *
// size / n)); kernel and stride are 1 then, and padding is 0.
struct PoolStep {
  std::string name;
  PoolMode mode = PoolMode::kMax;
  Slice source;
  Destination destination;
  Pair kernel;
  Pair stride;
  Pair padding;      // top, left
  Pair padding_end;  // bottom, right
  Divisor divisor = Divisor::kInside;
  std::optional<std::string> bias;  // constant [C], accumulator_of(plan.dtype)
  bool adaptive = false;
};

// act(source * scale + shift + other); absent parts are the identity.
struct PointwiseStep {
  std::string name;
  Slice source;
  Destination destination;
  std::optional<std::string> scale;  // constant [C], accumulator_of(plan.dtype)
  std::optional<std::string> shift;  // constant [C], accumulator_of(plan.dtype)
  std::optional<Slice> other;
};

// act(source * scale + shift) with act(value) around it, to the destination's height and width; the
// act is a ReLU or nothing.
struct PadStep {
  std::string name;
  Slice source;
  Destination destination;
  Pair padding;  // top, left; all of the source is inside
  double value = 0;
  std::optional<std::string> scale;  // constant [C], accumulator_of(plan.dtype)
  std::optional<std::string> shift;  // constant [C], accumulator_of(plan.dtype)
};

// Bilinear, without antialiasing, to the destination's height and width.
struct ResizeStep {
  std::string name;
  Slice source;
  Destination destination;
  bool align_corners = false;
};

// Each pixel's channel vector divided by max(its L2 norm, eps).
struct NormalizeStep {
  std::string name;
  Slice source;
  Destination destination;
  double eps = 0;
};

// exp(x) / sum(exp(x)) over each pixel's channels, or the logarithm of it.
struct SoftmaxStep {
  std::string name;
  Slice source;
  Destination destination;
  bool log = false;
};

// Local response normalisation: in[c] / (k + alpha / size * sum of in[j]^2 for c - size / 2 <= j <=
// c + (size - 1) / 2)^beta.
struct LocalResponseStep {
  std::string name;
  Slice source;
  Destination destination;
  int size = 1;
  double alpha = 0;
  double beta = 0;
  double k = 0;
};

// source * gate; the gate has the source's channels or one, and its height and width or 1 x 1.
struct GateStep {
  std::string name;
  Slice source;
  Slice gate;
  Destination destination;
};

using Step = std::variant<ConvStep, PairStep, DepthwiseStep, PoolStep, PointwiseStep, PadStep,
                          ResizeStep, NormalizeStep, SoftmaxStep, LocalResponseStep, GateStep>;

struct Constant {
  std::vector<std::int64_t> shape;
  Dtype dtype = Dtype::kFloat32;
};

// The whole of an output buffer, as [N, C, H, W]; the caller flattens it (channels first) where
// flat.
struct Output {
  int buffer = 0;
  bool flat = false;
};

struct Plan {
  Dtype dtype = Dtype::kFloat32;
  std::vector<Buffer> buffers;
  std::vector<Step> steps;
  std::vector<std::vector<int>>
      stages;  // indices of steps; those of one stage may run side by side
  std::map<std::string, Constant> constants;
  std::vector<Output> outputs;
  std::int64_t arena = 0;

  int input() const;  // index of the input buffer
  Dtype input_dtype() const;
};

// The bytes of each constant, little endian, in row-major order; whoever filled it keeps them
// alive.
using ConstantBytes = std::map<std::string, std::span<const std::byte>, std::less<>>;

const std::string& name_of(const Step& step);
const Slice& source_of(const Step& step);
// The residual, other operand or gate, where there is one.
const Slice* second_source_of(const Step& step);
std::span<const Destination> destinations_of(const Step& step);
// The convolutions in a step, in order.
std::vector<const Convolution*> convolutions_of(const Step& step);

}  // namespace ifast
