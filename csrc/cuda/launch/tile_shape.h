#pragma once

#include <algorithm>
#include <iterator>

#if defined(__CUDACC__)
#define IFAST_BOTH __host__ __device__
#else
#define IFAST_BOTH
#endif

// How a convolution is cut into tiles. Dispatch, packing and tests walk the one list of shapes that
// is here. The shape of a tile changes no bit of a result: a sum's order is that of K.
namespace ifast::cuda {

inline constexpr int kThreads = 128;  // of every block
inline constexpr int kVectorBytes = 16;
// Of K, in one stage of a ring: how weights are packed, whatever the tile.
inline constexpr int kChunkVectors = 8;
inline constexpr int kChunkBytes = kChunkVectors * kVectorBytes;

// The taps of a tile in shared memory.
inline constexpr int kTapBytes = 8;
inline constexpr int kMostTaps = 56;
inline constexpr int kTapTableBytes = (kMostTaps + kChunkVectors) * kTapBytes;

struct TileShape {
  int rows;       // output pixels
  int columns;    // output channels
  int stages;     // chunks of K in shared memory
  int warp_rows;  // warps one below the other, and side by side
  int warp_columns;
  bool any_source;  // takes sources of any alignment and layout
  bool throughput;  // for kernels with registers for two blocks on a multiprocessor

  IFAST_BOTH constexpr int threads() const { return warp_rows * warp_columns * 32; }
  IFAST_BOTH constexpr int stage_bytes() const { return (rows + columns) * kChunkBytes; }
  IFAST_BOTH constexpr int ring_bytes() const { return stages * stage_bytes(); }
  // Of a block: the ring, in which the sums wait later, and the taps.
  IFAST_BOTH constexpr int shared_bytes() const { return ring_bytes() + kTapTableBytes; }
  // Sums in shared memory: eight words past a multiple of 32 banks keep the lanes of a store in
  // different banks.
  IFAST_BOTH constexpr int sum_pitch() const { return (columns + 8) * 4; }
  IFAST_BOTH constexpr int sum_bytes() const { return rows * sum_pitch(); }

  constexpr bool operator==(const TileShape&) const = default;
};

// The smallest first: it takes every source, and sums are cut into segments for it.
inline constexpr int kBaseShape = 0;
inline constexpr TileShape kShapes[] = {
    {64, 32, 4, 4, 1, true, false},
    {64, 64, 3, 2, 2, false, false},
    {128, 64, 3, 4, 1, false, true},
};
inline constexpr int kShapeCount = static_cast<int>(std::size(kShapes));

enum class KernelKind { kStage, kThroughput, kPair, kNetwork };

// Whether a kernel's registers leave room for a shape; those of fp32, which splits operands in two,
// for fewer.
IFAST_BOTH constexpr bool offers(KernelKind kernel, const TileShape& shape, bool splits) {
  if (shape.throughput) return kernel == KernelKind::kThroughput && !splits;
  return shape.any_source || kernel != KernelKind::kNetwork || !splits;
}

// Of both convolutions of a pair, whose intermediate wants the room of a stage.
inline constexpr TileShape kPairShape{64, 32, 3, 4, 1, true, false};

// Of a block without a pair whose tiles are not for throughput.
inline constexpr int kSharedBytes = [] {
  int most = 0;
  for (const TileShape& shape : kShapes) {
    if (!shape.throughput) most = std::max(most, shape.shared_bytes());
  }
  return most;
}();

inline constexpr int kMostRows = [] {
  int most = 0;
  for (const TileShape& shape : kShapes) most = std::max(most, shape.rows);
  return most;
}();

// Sums of one segment of a tile of the base shape; those of others are as many of them.
inline constexpr int kPartialBytes = kShapes[kBaseShape].rows * kShapes[kBaseShape].columns * 4;
IFAST_BOTH constexpr int partials_of(const TileShape& shape) {
  return shape.rows * shape.columns * 4 / kPartialBytes;
}

static_assert([] {
  for (const TileShape& shape : kShapes) {
    if (shape.threads() != kThreads || shape.rows * shape.columns * 4 % kPartialBytes != 0) {
      return false;
    }
  }
  return kShapes[kBaseShape].any_source && kPairShape.threads() == kThreads;
}());

}  // namespace ifast::cuda
