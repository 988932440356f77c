#pragma once

#include <algorithm>

#include "cpu/ops/op.h"

// How operators that compute pixel by pixel cut their work.
namespace ifast::cpu {

inline Tiling tile_pixels(const View& out, int batch, int threads) {
  // Reading and writing an element cost about as much as the multiply-adds that a GEMM does
  // meanwhile.
  constexpr double kCostPerElement = 16;
  Tiling tiling;
  tiling.blocks = std::min(batch * out.height * out.width, 8 * threads);
  tiling.tasks = tiling.blocks;
  tiling.cost = kCostPerElement * batch * out.height * out.width * out.channels;
  return tiling;
}

inline Range pixels_of(const View& out, const Bindings& bindings, const Tiling& tiling, int task) {
  return part_of(bindings.batch * out.height * out.width, task, tiling.blocks);
}

struct Pixel {
  int n, y, x;
};

inline Pixel pixel_at(const View& view, int p) {
  return {p / (view.width * view.height), p / view.width % view.height, p % view.width};
}

}  // namespace ifast::cpu
