#include "cpu/conv/choice.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "cpu/conv/band.h"
#include "cpu/conv/direct.h"
#include "cpu/conv/integer_winograd.h"
#include "cpu/conv/packing_key.h"
#include "cpu/conv/winograd.h"
#include "cpu/conv/winograd_rounding.h"

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
constexpr double kCyclesPerCopy = 15;              // a vector of the caller's input, to the arena

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

// An operator that `make` makes of a Packer for the problem.
template <class Make>
std::unique_ptr<Op> packed(std::string_view algorithm, const ConvProblem& problem,
                           const Kernels& kernels, WeightStore& store, Make make) {
  Packer packer(store, packing_key(problem, algorithm, kernels));
  std::unique_ptr<Op> op = make(packer);
  packer.finish();
  return op;
}

}  // namespace

bool quantizes_input(const Convolution& conv) {
  return !conv.winograd && conv.in_channels <= BandConv::kMostChannels &&
         band_taps(conv.taps, conv.stride);
}

std::vector<ConvCandidate> conv_candidates(const ConvProblem& problem, bool strided,
                                           const Kernels& kernels, Dtype dtype) {
  const bool dot = dtype == Dtype::kBFloat16 && kernels.gemm_dot[0][0] != nullptr;
  std::vector<ConvCandidate> candidates;
  candidates.push_back({std::nullopt, direct_cost(problem, kernels, dot), 0});
  if (strided || problem.quantized()) return candidates;
  for (WinogradLayout& layout : winograd_layouts(problem, dot && problem.in_channels % 2 == 0)) {
    const double cost = winograd_cost(problem, layout, kernels);
    const auto& sensitivity = problem.sensitivity;
    const double share = sensitivity ? rounding_of(layout, problem).share(*sensitivity) : 0;
    candidates.push_back({std::move(layout), cost, share});
  }
  return candidates;
}

const ConvCandidate& cheapest(const std::vector<ConvCandidate>& candidates, double share_price) {
  return *std::ranges::min_element(candidates, {}, [share_price](const ConvCandidate& c) {
    return c.cost + share_price * c.share;
  });
}

double copy_gain(const ConvProblem& problem, const std::vector<ConvCandidate>& candidates,
                 double share_price) {
  // Bands read few channels in any strides, and take less time than a panel.
  if (problem.in_channels <= BandConv::kMostChannels && !problem.residual) return 0;
  return candidates.front().cost - cheapest(candidates, share_price).cost;
}

double copy_cost(const View& input, const Kernels& kernels) {
  return 1.0 * input.height * input.width * vectors(input.channels, kernels) * kCyclesPerCopy;
}

double share_price(const std::vector<std::vector<ConvCandidate>>& convs) {
  const auto fits = [&convs](double price) {
    double total = 0;
    for (const auto& candidates : convs) total += cheapest(candidates, price).share;
    return total <= 1;
  };
  if (fits(0)) return 0;
  // Exponents of 2: shares are at most some 1e50, costs some 1e12.
  double low = -300, high = 300;
  while (high - low > 0.01) {
    const double middle = (low + high) / 2;
    (fits(std::exp2(middle)) ? high : low) = middle;
  }
  return std::exp2(high);
}

std::unique_ptr<Op> choose_conv(ConvProblem problem, bool strided, const ConvChoice& choice,
                                const Kernels& kernels, Dtype dtype, WeightStore& store) {
  if (problem.winograd) {
    return packed("F(2, 3)", problem, kernels, store, [&](Packer& packer) {
      return std::make_unique<IntegerWinogradConv>(std::move(problem), kernels, packer);
    });
  }
  const auto direct = [&] {
    const bool dot = dtype == Dtype::kBFloat16 && kernels.gemm_dot[0][0] != nullptr;
    return packed(dot ? "direct, dot" : "direct", problem, kernels, store, [&](Packer& packer) {
      return std::make_unique<DirectConv>(std::move(problem), strided, kernels, dtype, packer);
    });
  };
  const auto band = [&](TapRectangle rectangle) {
    return packed("band", problem, kernels, store, [&](Packer& packer) {
      return std::make_unique<BandConv>(std::move(problem), std::move(rectangle), kernels, packer);
    });
  };
  if (problem.quantized()) {
    auto rectangle = band_taps(problem.taps, problem.stride);
    if (rectangle && (strided || gains_from_bands(problem, kernels))) {
      return band(std::move(*rectangle));
    }
    return direct();
  }
  if (strided && problem.in_channels <= BandConv::kMostChannels && !problem.residual) {
    if (auto rectangle = band_taps(problem.taps, problem.stride)) {
      return band(std::move(*rectangle));
    }
  }
  const auto candidates = conv_candidates(problem, strided, kernels, dtype);
  const ConvCandidate* chosen = &cheapest(candidates, choice.share_price);
  if (!choice.algorithm.empty()) {
    const auto named = std::ranges::find_if(candidates, [&](const ConvCandidate& c) {
      return c.layout && c.layout->name() == choice.algorithm;
    });
    chosen = named == candidates.end() ? &candidates.front() : &*named;
  }
  if (!chosen->layout) return direct();
  return packed(chosen->layout->name(), problem, kernels, store, [&](Packer& packer) {
    return std::make_unique<WinogradConv>(std::move(problem), *chosen->layout, kernels, packer);
  });
}

}  // namespace ifast::cpu
