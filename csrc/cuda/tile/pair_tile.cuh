#pragma once

#include "cuda/tile/conv_tile.cuh"
#include "ptx/cluster.cuh"

// Two convolutions, of which the second reads what the first computed out of shared memory. A tile
// is a run of output pixels, and the lines of the intermediate that they see; a cluster of blocks
// shares it. The intermediate is cut into units of kTileRows pixels by kNarrowTile channels. They
// are dealt round to the blocks, each of which computes and keeps its own; after that each block
// computes some of the output and reads every block's units.
namespace ifast::cuda {

// Where the units of one tile's intermediate are. In a unit the pixels are those of a plain tile,
// in groups of kChunkVectors vectors of channels: what neighbouring threads copy is contiguous.
template <class Format>
struct Middle {
  static constexpr int kUnitVectors = kNarrowTile / Tensor<Format>::kLength;
  static constexpr int kUnitBytes = pair_unit_bytes(sizeof(typename Format::Element));

  int begin;  // pixels [begin, end) of all images
  int end;
  int columns;  // units side by side
  int blocks_log2;

  IFAST_DEVICE Middle(const Step& step, const Step& first, int output_begin, int output_end)
      : columns(first.group_tiles), blocks_log2(step.cluster_log2) {
    const auto line = [&](int pixel, int offset) {
      const int at = pixel / step.width, y = at % step.height * step.stride.vertical + offset;
      const int inside = y < 0 ? 0 : y < first.height ? y : first.height - 1;
      return at / step.height * first.height + inside;
    };
    begin = line(output_begin, step.lowest_tap) * first.width;
    end = (line(output_end - 1, step.highest_tap) + 1) * first.width;
  }

  IFAST_DEVICE int units() const { return divide_up(end - begin, kTileRows) * columns; }
  IFAST_DEVICE int owner(int unit) const { return unit & ((1 << blocks_log2) - 1); }

  // Of a vector of channels in its owner's shared memory.
  IFAST_DEVICE std::uint32_t address(int unit, int pixel, int vector) const {
    const int group = vector / kChunkVectors;
    return ptx::shared_memory() + ring_bytes(kNarrowTile) + (unit >> blocks_log2) * kUnitBytes +
           (group * kTileRows + pixel) * kChunkBytes + vector % kChunkVectors * kVectorBytes;
  }
};

// The intermediate as the second convolution reads it, through registers: a vector arrives while
// the chunk before is multiplied.
template <class Format>
class MiddleSource {
 public:
  using Image = int;  // its first pixel, counted from the tile's

  IFAST_DEVICE MiddleSource(const Middle<Format>& middle, const View& view)
      : middle_(middle), view_(view) {}

  IFAST_DEVICE Image image(int n) const { return n * view_.height * view_.width - middle_.begin; }

  IFAST_DEVICE void copy(int row, std::uint32_t to, Image image, int y, int x, int vector,
                         bool inside) {
    to_[row] = to;
    loaded_[row] = {};
    if (!inside) return;
    constexpr int kUnitVectors = Middle<Format>::kUnitVectors;
    const int pixel = image + y * view_.width + x;
    const int unit = pixel / kTileRows * middle_.columns + vector / kUnitVectors;
    loaded_[row] = ptx::load_cluster_vector(
        middle_.address(unit, pixel % kTileRows, vector % kUnitVectors), middle_.owner(unit));
  }

  IFAST_DEVICE void land() {
    IFAST_UNROLL
    for (int row = 0; row < kRows; ++row) ptx::store_shared_vector(to_[row], loaded_[row]);
  }

 private:
  static constexpr int kRows = 2;  // a thread's of a chunk

  const Middle<Format> middle_;
  const View& view_;
  std::uint32_t to_[kRows] = {};
  ptx::Vector loaded_[kRows] = {};
};

// One tile of a pair, by all blocks of a cluster; wait() returns when what the pair reads is there.
template <class Format, class Wait>
IFAST_DEVICE void pair_tile(const Step& step, const Frame& frame, const std::byte* constants,
                            int tile, const Wait& wait) {
  const Step& first = *constant<Step>(constants, step.first);
  const int pixels = frame.batch * step.height * step.width;
  const int begin = tile * step.group_pixels, last = begin + step.group_pixels;
  const int end = last < pixels ? last : pixels;
  const Middle<Format> middle(step, first, begin, end);
  const int rank = ptx::cluster_rank(), blocks = 1 << step.cluster_log2;

  for (int unit = rank; unit < middle.units(); unit += blocks) {
    const ConvPart part{middle.begin + unit / middle.columns * kTileRows, middle.end,
                        unit % middle.columns};
    ConvTile<Format, kNarrowTile>(first, constants, part)
        .run(
            frame, wait, [&] { return GlobalSource<Format>(frame, first.source); },
            [&](int pixel, int channel, int count, Values<Format> values) {
              // Vectors are read whole, and what is not there must not be NaN.
              for (int i = 0; i < Values<Format>::kLength; ++i) {
                if (i >= count) values.value[i] = 0.0f;
              }
              if (step.middle_relu) values.relu();
              const int vector = channel % kNarrowTile / Values<Format>::kLength;
              ptx::store_shared_vector(middle.address(unit, pixel - part.begin, vector),
                                       values.pack());
            });
    // The sums are read before the next unit's weights take their place.
    ptx::block_barrier();
  }

  // Weights for the output come in while the other blocks finish.
  ptx::cluster_arrive();
  bool waits = true;
  const auto wait_for_all = [&] {
    if (!waits) return;
    wait();
    ptx::cluster_wait();
    waits = false;
  };
  const int parts = divide_up(end - begin, kTileRows) * step.group_tiles;
  for (int index = rank; index < parts; index += blocks) {
    const ConvPart part{begin + index / step.group_tiles * kTileRows, end,
                        index % step.group_tiles};
    ConvTile<Format, kNarrowTile>(step, constants, part)
        .run(
            frame, wait_for_all, [&] { return MiddleSource<Format>(middle, step.source); },
            TargetWriter<Format>(step, frame, constants));
    ptx::block_barrier();
  }
  wait_for_all();
  // A block's memory must stay until the others have read it.
  ptx::cluster_arrive();
  ptx::cluster_wait();
}

}  // namespace ifast::cuda
