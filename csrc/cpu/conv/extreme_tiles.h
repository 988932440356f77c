#pragma once

#include <cstdint>

#include "cpu/conv/winograd_layout.h"

namespace ifast::cpu {

// Tiles side by side in one row of tiles of an image.
struct TileRun {
  int n, y, x;  // of the first tile's first output
  int tiles;
};

// Which Winograd tiles share their rounding too unevenly. Every output of a tile is wrong by a part
// of the largest number that the tile reads, so a tile is extreme where that exceeds `ratio` times
// what one of its outputs has to do with: the largest number under its own window, or what the bias
// is worth in such numbers. So is a tile of numbers that the transforms could overflow with, NaN
// and infinities among them. The answer depends on what the tile reads alone.
class ExtremeTiles {
 public:
  // problem: with its weights.
  ExtremeTiles(const ConvProblem& problem, const WinogradLayout& layout, const Kernels& kernels);

  // Floats of scratch that mark() needs for runs of at most `tiles`.
  std::size_t scratch(int tiles) const;
  // marks: one for each tile of the run.
  void mark(const Bindings& bindings, const TileRun& run, float* scratch,
            std::uint8_t* marks) const;

 private:
  // What the tiles of the run read: pixels of the source, some of them outside.
  struct Strip {
    int y, x;
    int rows, columns;
  };

  Strip strip_of(const TileRun& run) const;
  bool is_extreme(const float* magnitudes, int stride, int rows, int columns) const;

  const View source_;
  const int height_;  // of the output
  const int width_;
  const Pair outputs_;  // of a tile
  const Pair first_;    // tap
  Pair reach_;          // from the first tap to beyond the last, zeros that fill groups up included
  Pair window_;         // the same without those
  const float ratio_;
  float bias_magnitude_ = 0;
  float (*peak_)(const void*, std::ptrdiff_t, int, int);
};

}  // namespace ifast::cpu
