#include "cpu/conv_choice.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "cpu/band_conv.h"
#include "cpu/direct_conv.h"
#include "cpu/integer_winograd_conv.h"
#include "cpu/winograd_conv.h"

namespace ifast::cpu {
namespace {

// Processor cycles of one image, weights from memory included. The choice decides the bits of the
// result, so it depends on nothing but the problem and the kernels: neither on the number of
// threads nor on the batch. The constants are those of a server core with two 512-bit multiply-adds
// a cycle.
constexpr double kMultiplyAddsPerCycle = 2;        // vectors
constexpr double kBytesPerCycle = 3.5;             // of weights, from memory, of each of two cores
constexpr double kCyclesPerGather = 1.5;           // a vector
constexpr double kCyclesPerInput[] = {2.7, 3.4};   // a vector and position, of one axis or two
constexpr double kCyclesPerOutput[] = {2.8, 3.3};  // a vector and position, of one axis or two

double vectors(int channels, const Kernels& kernels) {
  return (channels + kernels.lanes - 1) / kernels.lanes;
}

// Batch 1, where the weights are read for one image, weighs as much as larger ones.
double with_weights(double cycles, double weights) {
  return cycles + std::max(cycles, weights * sizeof(float) / kBytesPerCycle);
}

double direct_cost(const ConvProblem& p, const Kernels& kernels, bool dot) {
  const double rate = kMultiplyAddsPerCycle * (dot ? 2 : 1), pixels = p.height() * p.width();
  const double k = 1.0 * p.tap_count() * p.in_channels, n = vectors(p.out_channels, kernels);
  const double gather = pixels * p.tap_count() * vectors(p.in_channels, kernels) * kCyclesPerGather;
  return with_weights(pixels * k * n / rate + gather, k * p.out_channels / (dot ? 2 : 1));
}

double winograd_cost(const ConvProblem& p, const WinogradLayout& layout, const Kernels& kernels) {
  const WinogradSize& size = layout.size();
  const double tiles = layout.tiles(p.height(), p.width()), positions = size.positions();
  const double groups = static_cast<double>(layout.groups.size());
  const double k = groups * p.in_channels / (layout.dot ? 2 : 1);
  const double n = vectors(p.out_channels, kernels);
  const int axes = size.dimensions - 1;
  const double transforms = tiles * positions *
                            (groups * vectors(p.in_channels, kernels) * kCyclesPerInput[axes] +
                             n * kCyclesPerOutput[axes]);
  return with_weights(tiles * positions * k * n / kMultiplyAddsPerCycle + transforms,
                      positions * k * p.out_channels);
}

// The taps as a band wants them. One with gaps between the windows of two outputs would copy them
// too.
std::optional<TapRectangle> band_taps(const std::vector<Pair>& taps, const Pair& stride) {
  auto rectangle = tap_rectangle(taps);
  if (rectangle && stride.vertical <= rectangle->extent.vertical &&
      stride.horizontal <= rectangle->extent.horizontal) {
    return rectangle;
  }
  return std::nullopt;
}

// Whether reading a band takes less time than a panel of all taps: it does where the pixels of a
// row fill a block of the micro-kernel, which does not reach into the next row.
bool gains_from_bands(const ConvProblem& p, const Kernels& kernels) {
  return !p.residual && p.tap_count() > 1 && p.width() >= kernels.gemm_rows;
}

}  // namespace

bool quantizes_input(const Convolution& conv) {
  return !conv.winograd && conv.in_channels <= BandConv::kMostChannels &&
         band_taps(conv.taps, conv.stride);
}

std::unique_ptr<Op> choose_conv(ConvProblem problem, bool strided, const std::string& algorithm,
                                const Kernels& kernels, Dtype dtype, WeightStore& store) {
  if (problem.winograd) {
    return std::make_unique<IntegerWinogradConv>(std::move(problem), kernels, store);
  }
  if (problem.quantized()) {
    if (auto rectangle = band_taps(problem.taps, problem.stride);
        rectangle && (strided || gains_from_bands(problem, kernels))) {
      return std::make_unique<BandConv>(std::move(problem), std::move(*rectangle), kernels, store);
    }
    return std::make_unique<DirectConv>(std::move(problem), strided, kernels, dtype, store);
  }
  const bool dot = dtype == Dtype::kBFloat16 && kernels.gemm_dot[0][0] != nullptr;
  double best = direct_cost(problem, kernels, dot);
  std::optional<WinogradLayout> chosen;
  if (!strided) {
    for (WinogradLayout& layout : winograd_layouts(problem, dot && problem.in_channels % 2 == 0)) {
      if (!algorithm.empty() && layout.name() != algorithm) continue;
      const double cost = winograd_cost(problem, layout, kernels);
      if (cost < best || !algorithm.empty()) {
        best = cost;
        chosen = std::move(layout);
      }
    }
  }
  if (strided && problem.in_channels <= BandConv::kMostChannels && !problem.residual) {
    if (auto rectangle = band_taps(problem.taps, problem.stride)) {
      return std::make_unique<BandConv>(std::move(problem), std::move(*rectangle), kernels, store);
    }
  }
  if (chosen) {
    return std::make_unique<WinogradConv>(std::move(problem), std::move(*chosen), kernels, store);
  }
  return std::make_unique<DirectConv>(std::move(problem), strided, kernels, dtype, store);
}

}  // namespace ifast::cpu
