#pragma once

#include <string>
#include <vector>

#include "cpu/conv/problem.h"

namespace ifast::cpu {

// How a convolution becomes Winograd tiles of one size. Its taps, a full rectangle of stride 1, are
// cut into groups of r (1-D) or r x r (2-D), zeros filling the last ones up; the groups'
// transformed inputs stand side by side in the K of one product, so their sum costs no additions of
// its own.
struct WinogradLayout {
  // Weights of the taps of one group, by row and column; -1 stands for zero.
  struct Group {
    Pair offset;            // of its first tap
    std::vector<int> taps;  // [rows][columns]
  };

  int size_index = 0;  // in kWinogradSizes
  bool vertical = false;
  bool dot = false;  // products of operands rounded to bfloat16, summed in float32
  std::vector<Group> groups;

  const WinogradSize& size() const { return kWinogradSizes[size_index]; }
  // Outputs, and taps of a group, along each axis.
  Pair outputs() const { return along(size().outputs); }
  Pair taps() const { return along(size().taps()); }
  int tiles(int height, int width) const {
    const Pair m = outputs();
    return ((height + m.vertical - 1) / m.vertical) * ((width + m.horizontal - 1) / m.horizontal);
  }
  std::string name() const;

 private:
  Pair along(int n) const {
    if (size().dimensions == 2) return {n, n};
    return vertical ? Pair{n, 1} : Pair{1, n};
  }
};

// Every layout that can compute the problem; those with bfloat16 products where asked for.
std::vector<WinogradLayout> winograd_layouts(const ConvProblem& problem, bool dot);

}  // namespace ifast::cpu
