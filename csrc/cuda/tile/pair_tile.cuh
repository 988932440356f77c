#pragma once

#include "cuda/tile/conv_tile.cuh"
#include "ptx/cluster.cuh"

// Two convolutions, of which the second reads what the first computed out of shared memory. A tile
// is a run of output pixels, and the lines of the intermediate that they see; a cluster of blocks
// shares it. The intermediate is cut into units, tiles of kPairShape. They are dealt round to the
// blocks, each of which computes and keeps its own; after that each block computes some of the
// output and reads every block's units.
namespace ifast::cuda {

// Where the units of one tile's intermediate are. In a unit the pixels are those of a plain tile,
// in groups of kGroupVectors vectors of channels: what neighbouring threads copy is contiguous.
template <class Format>
struct Intermediate {
  static constexpr int kRows = kPairShape.rows;
  static constexpr int kUnitVectors = kPairShape.columns / Tensor<Format>::kLength;
  static constexpr int kGroupVectors = 4;
  static constexpr int kUnitBytes = pair_unit_bytes(sizeof(typename Format::Element));

  int begin;  // pixels [begin, end) of all images
  int end;
  int columns;  // units side by side
  int blocks_log2;

  IFAST_DEVICE Intermediate(Record<Step> step, Record<Step> first, int output_begin, int output_end)
      : columns(first[&Step::cut].group_tiles), blocks_log2(step[&Step::cluster_log2]) {
    const int width = step[&Step::width], height = step[&Step::height];
    const int middle_width = first[&Step::width], middle_height = first[&Step::height];
    const Extent stride = step[&Step::stride];
    const auto line = [&](int pixel, int offset) {
      const int at = pixel / width, y = at % height * stride.vertical + offset;
      const int inside = y < 0 ? 0 : y < middle_height ? y : middle_height - 1;
      return at / height * middle_height + inside;
    };
    begin = line(output_begin, step[&Step::lowest_tap]) * middle_width;
    end = (line(output_end - 1, step[&Step::highest_tap]) + 1) * middle_width;
  }

  IFAST_DEVICE int units() const { return divide_up(end - begin, kRows) * columns; }
  IFAST_DEVICE int owner(int unit) const { return unit & ((1 << blocks_log2) - 1); }

  // Of a vector of channels in its owner's shared memory.
  IFAST_DEVICE std::uint32_t address(int unit, int pixel, int vector) const {
    const int group = vector / kGroupVectors;
    return ptx::shared_memory() + kPairShape.shared_bytes() + (unit >> blocks_log2) * kUnitBytes +
           ((group * kRows + pixel) * kGroupVectors + vector % kGroupVectors) * kVectorBytes;
  }
};

// The intermediate as the second convolution reads it, through registers: a vector arrives while
// the chunk before is multiplied.
template <class Format>
class IntermediateSource {
 public:
  using Image = int;  // its first pixel, counted from the tile's

  IFAST_DEVICE IntermediateSource(const Intermediate<Format>& intermediate, const View& view)
      : intermediate_(intermediate), width_(view.width), pixels_(view.height * view.width) {}

  IFAST_DEVICE Image image(int n) const { return n * pixels_ - intermediate_.begin; }

  IFAST_DEVICE void copy(int row, std::uint32_t to, Image image, int y, int x, int vector,
                         bool inside) {
    to_[row] = to;
    loaded_[row] = {};
    if (!inside) return;
    constexpr int kUnitVectors = Intermediate<Format>::kUnitVectors, kUnitRows = kPairShape.rows;
    const int pixel = image + y * width_ + x;
    const int unit = pixel / kUnitRows * intermediate_.columns + vector / kUnitVectors;
    loaded_[row] = ptx::load_cluster_vector(
        intermediate_.address(unit, pixel % kUnitRows, vector % kUnitVectors),
        intermediate_.owner(unit));
  }

  IFAST_DEVICE void land() {
    IFAST_UNROLL
    for (int row = 0; row < kRows; ++row) ptx::store_shared_vector(to_[row], loaded_[row]);
  }

 private:
  // A thread's of a chunk.
  static constexpr int kRows = kPairShape.rows * kChunkVectors / kPairShape.threads();

  const Intermediate<Format> intermediate_;
  const int width_, pixels_;
  std::uint32_t to_[kRows] = {};
  ptx::Vector loaded_[kRows] = {};
};

// Takes a unit of the intermediate from ConvTile: vectors are written whole, and what is not there
// must not be NaN.
template <class Format>
struct UnitWriter {
  Intermediate<Format> intermediate;
  int unit;
  int begin;  // its first pixel
  int relu;

  IFAST_DEVICE void operator()(int pixel, int channel, int count, Values<Format> values) const {
    for (int i = 0; i < Values<Format>::kLength; ++i) {
      if (i >= count) values.value[i] = 0.0f;
    }
    if (relu) values.relu();
    const int vector = channel % kPairShape.columns / Values<Format>::kLength;
    ptx::store_shared_vector(intermediate.address(unit, pixel - begin, vector), values.pack());
  }
};

// The second convolution of a pair waits, once, for the cluster's other blocks as well.
template <class Turn>
class PairTurn {
 public:
  IFAST_DEVICE explicit PairTurn(const Turn& turn) : turn_(turn) {}

  IFAST_DEVICE void wait() {
    if (!waits_) return;
    turn_.wait();
    ptx::cluster_wait();
    waits_ = false;
  }
  IFAST_DEVICE const TileTrace& trace() const { return turn_.trace(); }

 private:
  const Turn& turn_;
  bool waits_ = true;
};

// One tile of a pair, by all blocks of a cluster; turn.wait() returns when what the pair reads
// is there.
template <class Format, class Turn>
IFAST_DEVICE void pair_tile(Record<Step> step, const Bindings& bindings, const std::byte* constants,
                            int tile, const Turn& turn) {
  using Conv = ConvTile<Format, kPairShape>;
  const Record<Step> first(constant<Step>(constants, step[&Step::first]));
  const int pixels = bindings.batch * step[&Step::height] * step[&Step::width];
  const Cut cut = step[&Step::cut];
  const int group_pixels = cut.group_pixels, group_tiles = cut.group_tiles;
  const int begin = tile * group_pixels, last = begin + group_pixels;
  const int end = last < pixels ? last : pixels;
  const Intermediate<Format> intermediate(step, first, begin, end);
  const int rank = ptx::cluster_rank(), blocks = 1 << intermediate.blocks_log2;
  const int thread = ptx::thread_index();

  for (int unit = rank; unit < intermediate.units(); unit += blocks) {
    const ConvPart part{intermediate.begin + unit / intermediate.columns * kPairShape.rows,
                        intermediate.end, unit % intermediate.columns * kPairShape.columns};
    Conv conv(first, constants, part);
    multiply_global<Format, kPairShape>(conv, first, bindings, constants, part, turn);
    conv.finish(bindings,
                UnitWriter<Format>{intermediate, unit, part.begin, step[&Step::middle_relu]});
    // The sums are read before the next unit's weights take their place.
    ptx::block_barrier();
  }

  // Weights for the output come in while the other blocks finish.
  ptx::cluster_arrive();
  PairTurn<Turn> second_turn{turn};
  const int parts = divide_up(end - begin, kPairShape.rows) * group_tiles;
  for (int index = rank; index < parts; index += blocks) {
    const ConvPart part{begin + index / group_tiles * kPairShape.rows, end,
                        index % group_tiles * kPairShape.columns};
    Conv conv(step, constants, part);
    conv.multiply(second_turn, [&](int first_chunk) {
      return PixelLoader<IntermediateSource<Format>, kPairShape>(
          IntermediateSource<Format>(intermediate, step[&Step::source]), step, constants, part,
          first_chunk, thread);
    });
    conv.finish(bindings, TargetWriter<Format, false>(step, bindings, constants));
    ptx::block_barrier();
  }
  second_turn.wait();
  turn.summed();
  // A block's memory must stay until the others have read it.
  ptx::cluster_arrive();
  ptx::cluster_wait();
}

}  // namespace ifast::cuda
