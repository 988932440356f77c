#include "plan/plan.h"

#include <algorithm>
#include <type_traits>

#include "plan/fields.h"

namespace ifast {
namespace {

template <class Step>
concept HasConvolution = std::is_same_v<Step, ConvStep> || std::is_same_v<Step, PairStep>;

}  // namespace

std::string_view name_of(Dtype dtype) { return kNames<Dtype>[static_cast<std::size_t>(dtype)]; }

int Plan::input() const {
  const auto found =
      std::ranges::find(buffers, Home::kInput, [](const Buffer& buffer) { return buffer.home; });
  return static_cast<int>(found - buffers.begin());
}

Dtype Plan::input_dtype() const {
  return buffers[static_cast<std::size_t>(input())].dtype.value_or(outside_of(dtype));
}

const std::string& name_of(const Step& step) {
  return std::visit([](const auto& s) -> const std::string& { return s.name; }, step);
}

const Slice& source_of(const Step& step) {
  return std::visit([](const auto& s) -> const Slice& { return s.source; }, step);
}

const Slice* second_source_of(const Step& step) {
  return std::visit(
      []<class S>(const S& s) -> const Slice* {
        if constexpr (HasConvolution<S>) {
          return s.residual ? &*s.residual : nullptr;
        } else if constexpr (std::is_same_v<S, PointwiseStep>) {
          return s.other ? &*s.other : nullptr;
        } else if constexpr (std::is_same_v<S, GateStep>) {
          return &s.gate;
        } else {
          return nullptr;
        }
      },
      step);
}

std::span<const Destination> destinations_of(const Step& step) {
  return std::visit(
      []<class S>(const S& s) -> std::span<const Destination> {
        if constexpr (HasConvolution<S>) {
          return s.destinations;
        } else {
          return {&s.destination, 1};
        }
      },
      step);
}

std::vector<const Convolution*> convolutions_of(const Step& step) {
  if (const auto* conv = std::get_if<ConvStep>(&step)) return {&conv->conv};
  if (const auto* pair = std::get_if<PairStep>(&step)) return {&pair->first, &pair->second};
  return {};
}

}  // namespace ifast
