#include "cpu/conv/packing_key.h"

#include <bit>
#include <cstdint>
#include <initializer_list>

namespace ifast::cpu {
namespace {

void add(std::string& key, std::string_view text) {
  key += std::to_string(text.size()) + ':';
  key += text;
}

void add(std::string& key, std::initializer_list<std::uint32_t> numbers) {
  for (const std::uint32_t number : numbers) key += std::to_string(number) + ',';
  key += ';';
}

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

std::uint32_t number(int value) { return static_cast<std::uint32_t>(value); }

}  // namespace

std::string packing_key(const ConvProblem& problem, std::string_view algorithm,
                        const Kernels& kernels) {
  if (problem.constants.empty()) return {};
  std::string key;
  add(key, problem.constants);
  add(key, algorithm);
  add(key, {number(kernels.lanes), number(kernels.gemm_vectors), number(kernels.unit_channels)});
  add(key, {number(problem.in_channels), number(problem.out_channels)});
  for (const Pair& tap : problem.taps) add(key, {number(tap.vertical), number(tap.horizontal)});
  for (const Target& target : problem.targets) {
    add(key, {number(target.view.channels), bits(target.view.scale)});
  }
  add(key, {bits(problem.source.scale), number(problem.source.zero)});
  if (const auto& taps = problem.winograd) {
    add(key, {taps->axis == Axis::kVertical, number(taps->lines), number(taps->triples),
              number(taps->singles)});
  }
  return key;
}

}  // namespace ifast::cpu
