#pragma once

#include <algorithm>

#if defined(__CUDACC__)
#define IFAST_BOTH __host__ __device__
#else
#define IFAST_BOTH
#endif

// How a convolution is cut into tiles. Every list of shapes is in this file.
namespace ifast::cuda {

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
  bool segmented;   // registers hold the sums of a segment and those of all before it
  bool any_source;  // takes sources of any alignment and layout

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

inline constexpr TileShape kBaseShape{64, 32, 4, 4, 1, true, true};
inline constexpr TileShape kWideShape{64, 64, 3, 2, 2, false, false};

// Of both convolutions of a pair, whose intermediate wants the room of a stage.
inline constexpr TileShape kPairShape{64, 32, 3, 4, 1, true, true};

// Of a block whose step is not a pair.
inline constexpr int kSharedBytes = std::max(kBaseShape.shared_bytes(), kWideShape.shared_bytes());

}  // namespace ifast::cuda
