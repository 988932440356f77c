#pragma once

#include <array>
#include <string_view>
#include <tuple>

#include "plan/engine_file.h"
#include "plan/plan.h"

// What the structs of plan.h and engine_file.h are called in JSON: the one list that readers and
// the Python bindings walk.
namespace ifast {

template <class Struct, class T>
struct Field {
  std::string_view name;
  T Struct::* member;
  bool optional = false;  // left out where it has its default, which is null or 0
};
template <class Struct, class T>
Field(std::string_view, T Struct::*) -> Field<Struct, T>;
template <class Struct, class T>
Field(std::string_view, T Struct::*, bool) -> Field<Struct, T>;

template <class T>
inline constexpr std::tuple<> kFields{};

template <class T>
concept HasFields = std::tuple_size_v<std::remove_cvref_t<decltype(kFields<T>)>> != 0;

// The "kind" that a step carries.
template <class T>
inline constexpr std::string_view kKind{};

// The words for an enum's values, in order.
template <class Enum>
inline constexpr std::array<std::string_view, 0> kNames{};

template <>
inline constexpr std::array<std::string_view, 7> kNames<Dtype>{
    "float32", "float16", "bfloat16", "float64", "uint8", "int8", "int32"};
template <>
inline constexpr std::array<std::string_view, 3> kNames<Home>{"input", "arena", "output"};
template <>
inline constexpr std::array<std::string_view, 1> kNames<InputLayout>{"NHWC"};
template <>
inline constexpr std::array<std::string_view, 2> kNames<Axis>{"vertical", "horizontal"};
template <>
inline constexpr std::array<std::string_view, 14> kNames<Function>{
    "sigmoid", "tanh",       "silu",  "gelu",  "gelu_tanh", "hardsigmoid", "hardswish",
    "elu",     "leaky_relu", "prelu", "clamp", "clamp_min", "clamp_max",   "power"};
template <>
inline constexpr std::array<std::string_view, 2> kNames<PoolMode>{"max", "avg"};
template <>
inline constexpr std::array<std::string_view, 2> kNames<Divisor>{"window", "inside"};

template <>
inline constexpr auto kFields<Buffer> =
    std::tuple{Field{"name", &Buffer::name},         Field{"height", &Buffer::height},
               Field{"width", &Buffer::width},       Field{"channels", &Buffer::channels},
               Field{"home", &Buffer::home},         Field{"offset", &Buffer::offset},
               Field{"scale", &Buffer::scale, true}, Field{"zero", &Buffer::zero, true},
               Field{"dtype", &Buffer::dtype, true}};

template <>
inline constexpr auto kFields<Slice> =
    std::tuple{Field{"buffer", &Slice::buffer}, Field{"start", &Slice::start},
               Field{"channels", &Slice::channels}};

template <>
inline constexpr auto kFields<Activation> =
    std::tuple{Field{"function", &Activation::function}, Field{"alpha", &Activation::alpha, true},
               Field{"beta", &Activation::beta, true}, Field{"slope", &Activation::slope, true}};

template <>
inline constexpr auto kFields<Destination> =
    std::tuple{Field{"slice", &Destination::slice}, Field{"relu", &Destination::relu},
               Field{"activation", &Destination::activation, true}};

template <>
inline constexpr auto kFields<Sensitivity> =
    std::tuple{Field{"noise", &Sensitivity::noise}, Field{"weights", &Sensitivity::weights}};

template <>
inline constexpr auto kFields<Convolution> =
    std::tuple{Field{"weight", &Convolution::weight},
               Field{"bias", &Convolution::bias},
               Field{"in_channels", &Convolution::in_channels},
               Field{"out_channels", &Convolution::out_channels},
               Field{"taps", &Convolution::taps},
               Field{"stride", &Convolution::stride},
               Field{"scale", &Convolution::scale, true},
               Field{"winograd", &Convolution::winograd, true},
               Field{"sensitivity", &Convolution::sensitivity, true}};

template <>
inline constexpr std::string_view kKind<ConvStep> = "conv";
template <>
inline constexpr auto kFields<ConvStep> =
    std::tuple{Field{"name", &ConvStep::name}, Field{"source", &ConvStep::source},
               Field{"conv", &ConvStep::conv}, Field{"destinations", &ConvStep::destinations},
               Field{"residual", &ConvStep::residual}};

template <>
inline constexpr std::string_view kKind<PairStep> = "pair";
template <>
inline constexpr auto kFields<PairStep> =
    std::tuple{Field{"name", &PairStep::name},
               Field{"source", &PairStep::source},
               Field{"first", &PairStep::first},
               Field{"first_relu", &PairStep::first_relu},
               Field{"middle_height", &PairStep::middle_height},
               Field{"middle_width", &PairStep::middle_width},
               Field{"second", &PairStep::second},
               Field{"destinations", &PairStep::destinations},
               Field{"residual", &PairStep::residual}};

template <>
inline constexpr std::string_view kKind<DepthwiseStep> = "depthwise";
template <>
inline constexpr auto kFields<DepthwiseStep> =
    std::tuple{Field{"name", &DepthwiseStep::name},
               Field{"source", &DepthwiseStep::source},
               Field{"destination", &DepthwiseStep::destination},
               Field{"weight", &DepthwiseStep::weight},
               Field{"bias", &DepthwiseStep::bias},
               Field{"taps", &DepthwiseStep::taps},
               Field{"stride", &DepthwiseStep::stride}};

template <>
inline constexpr std::string_view kKind<PoolStep> = "pool";
template <>
inline constexpr auto kFields<PoolStep> = std::tuple{Field{"name", &PoolStep::name},
                                                     Field{"mode", &PoolStep::mode},
                                                     Field{"source", &PoolStep::source},
                                                     Field{"destination", &PoolStep::destination},
                                                     Field{"kernel", &PoolStep::kernel},
                                                     Field{"stride", &PoolStep::stride},
                                                     Field{"padding", &PoolStep::padding},
                                                     Field{"padding_end", &PoolStep::padding_end},
                                                     Field{"divisor", &PoolStep::divisor},
                                                     Field{"bias", &PoolStep::bias},
                                                     Field{"adaptive", &PoolStep::adaptive, true}};

template <>
inline constexpr std::string_view kKind<PointwiseStep> = "pointwise";
template <>
inline constexpr auto kFields<PointwiseStep> =
    std::tuple{Field{"name", &PointwiseStep::name},
               Field{"source", &PointwiseStep::source},
               Field{"destination", &PointwiseStep::destination},
               Field{"scale", &PointwiseStep::scale},
               Field{"shift", &PointwiseStep::shift},
               Field{"other", &PointwiseStep::other}};

template <>
inline constexpr std::string_view kKind<PadStep> = "pad";
template <>
inline constexpr auto kFields<PadStep> = std::tuple{Field{"name", &PadStep::name},
                                                    Field{"source", &PadStep::source},
                                                    Field{"destination", &PadStep::destination},
                                                    Field{"padding", &PadStep::padding},
                                                    Field{"value", &PadStep::value},
                                                    Field{"scale", &PadStep::scale},
                                                    Field{"shift", &PadStep::shift}};

template <>
inline constexpr std::string_view kKind<ResizeStep> = "resize";
template <>
inline constexpr auto kFields<ResizeStep> =
    std::tuple{Field{"name", &ResizeStep::name}, Field{"source", &ResizeStep::source},
               Field{"destination", &ResizeStep::destination},
               Field{"align_corners", &ResizeStep::align_corners}};

template <>
inline constexpr std::string_view kKind<NormalizeStep> = "normalize";
template <>
inline constexpr auto kFields<NormalizeStep> = std::tuple{
    Field{"name", &NormalizeStep::name}, Field{"source", &NormalizeStep::source},
    Field{"destination", &NormalizeStep::destination}, Field{"eps", &NormalizeStep::eps}};

template <>
inline constexpr std::string_view kKind<SoftmaxStep> = "softmax";
template <>
inline constexpr auto kFields<SoftmaxStep> =
    std::tuple{Field{"name", &SoftmaxStep::name}, Field{"source", &SoftmaxStep::source},
               Field{"destination", &SoftmaxStep::destination}, Field{"log", &SoftmaxStep::log}};

template <>
inline constexpr std::string_view kKind<LocalResponseStep> = "local_response";
template <>
inline constexpr auto kFields<LocalResponseStep> =
    std::tuple{Field{"name", &LocalResponseStep::name},
               Field{"source", &LocalResponseStep::source},
               Field{"destination", &LocalResponseStep::destination},
               Field{"size", &LocalResponseStep::size},
               Field{"alpha", &LocalResponseStep::alpha},
               Field{"beta", &LocalResponseStep::beta},
               Field{"k", &LocalResponseStep::k}};

template <>
inline constexpr std::string_view kKind<GateStep> = "gate";
template <>
inline constexpr auto kFields<GateStep> =
    std::tuple{Field{"name", &GateStep::name}, Field{"source", &GateStep::source},
               Field{"gate", &GateStep::gate}, Field{"destination", &GateStep::destination}};

template <>
inline constexpr auto kFields<Constant> =
    std::tuple{Field{"shape", &Constant::shape}, Field{"dtype", &Constant::dtype}};

template <>
inline constexpr auto kFields<Output> =
    std::tuple{Field{"buffer", &Output::buffer}, Field{"flat", &Output::flat}};

template <>
inline constexpr auto kFields<Plan> =
    std::tuple{Field{"dtype", &Plan::dtype},         Field{"buffers", &Plan::buffers},
               Field{"steps", &Plan::steps},         Field{"stages", &Plan::stages},
               Field{"constants", &Plan::constants}, Field{"outputs", &Plan::outputs},
               Field{"arena", &Plan::arena}};

template <>
inline constexpr auto kFields<Metadata> =
    std::tuple{Field{"precision", &Metadata::precision},
               Field{"batch_invariant", &Metadata::batch_invariant},
               Field{"input_shape", &Metadata::input_shape},
               Field{"input_dtype", &Metadata::input_dtype},
               Field{"structure", &Metadata::structure},
               Field{"layout", &Metadata::layout},
               Field{"producer", &Metadata::producer},
               Field{"report", &Metadata::report},
               Field{"output_dtype", &Metadata::output_dtype, true},
               Field{"input_layout", &Metadata::input_layout, true}};

}  // namespace ifast
