#pragma once

#include "cuda/tile/conv_part.cuh"
#include "cuda/tile/record.cuh"
#include "cuda/tile/scatter.cuh"
#include "ptx/async_copy.cuh"
#include "ptx/sync.cuh"

namespace ifast::cuda {

// Copies the pixels that a tile's rows see into shared memory, chunk of K after chunk, where
// Step::whole_vectors holds: each thread the same vector of a chunk for every kRowStep-th row.
// Everything that a chunk needs is in registers and in a table of taps in shared memory.
template <class Format, TileShape kShape>
class VectorLoader {
 public:
  // Needs nothing that a launch writes. Everyone's table is there after the block's next barrier.
  IFAST_DEVICE VectorLoader(const Bindings& bindings, Record<Step> step, const std::byte* constants,
                            const ConvPart& part, int first_chunk, int thread) {
    const View view = step[&Step::source];
    const Tensor<Format> source(bindings, view);
    const Extent stride = step[&Step::stride];
    const int width = step[&Step::width], height = step[&Step::height];
    const int first_image = part.begin / width / height;
    base_ = ptx::keep(reinterpret_cast<const std::byte*>(source.at(first_image, 0, 0)));
    const auto vectors = [](std::int64_t elements) {
      return static_cast<int>(elements / Tensor<Format>::kLength);
    };
    const int row_vectors = vectors(source.row), pixel_vectors = vectors(source.column);
    last_ = pack(view.height - 1, view.width - 1);
    IFAST_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const int pixel = part.begin + thread / kChunkVectors + i * kRowStep;
      const int line = pixel / width;
      const int n = line / height - first_image, y = line % height * stride.vertical,
                x = pixel % width * stride.horizontal;
      at_[i] = pixel < part.end ? pack(y, x) : kOutside;
      offset_[i] = n * vectors(source.image) + y * row_vectors + x * pixel_vectors;
    }

    table_ = ptx::shared_memory() + kShape.ring_bytes();
    const int taps = step[&Step::tap_count];
    const auto* extents = constant<Extent>(constants, step[&Step::taps]);
    for (int t = thread; t < taps + kChunkVectors; t += kShape.threads()) {
      const Extent tap = t < taps ? ptx::load_global(extents + t) : Extent{0, 0};
      const int at = t < taps ? pack(tap.vertical, tap.horizontal) : kOutside;
      const int offset = tap.vertical * row_vectors + tap.horizontal * pixel_vectors;
      ptx::store_shared_words(table_ + t * kTapBytes, static_cast<std::uint32_t>(at),
                              static_cast<std::uint32_t>(offset));
    }

    tap_vectors_ = step[&Step::tap_vectors];
    tap_step_ = kChunkVectors / tap_vectors_ * kTapBytes;
    vector_step_ = kChunkVectors % tap_vectors_;
    const int column = thread % kChunkVectors, vector = first_chunk * kChunkVectors + column;
    table_ += vector / tap_vectors_ * kTapBytes;
    vector_ = vector % tap_vectors_;
    to_ = static_cast<std::uint32_t>(swizzle(thread / kChunkVectors, column));
  }

  // A chunk is there when the copies of this thread have landed.
  IFAST_DEVICE void load_next(std::uint32_t stage) {
    const auto [tap, tap_offset] = ptx::load_shared_words(table_);
    const int offset = static_cast<int>(tap_offset) + vector_;
    IFAST_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const int at = at_[i] + static_cast<int>(tap);
      // The sign of either half of either is set where the pixel lies outside of the image.
      const bool inside = ((at | (last_ - at)) & kSigns) == 0;
      const auto vectors = static_cast<std::uint32_t>(offset_[i] + offset);
      ptx::cp_async<kVectorBytes>(stage + to_ + i * kRowStep * kChunkBytes,
                                  base_ + std::uint64_t{vectors} * kVectorBytes,
                                  inside ? kVectorBytes : 0);
    }
    vector_ += vector_step_;
    table_ += tap_step_;
    if (vector_ >= tap_vectors_) {
      vector_ -= tap_vectors_;
      table_ += kTapBytes;
    }
  }

  IFAST_DEVICE void land() {}

 private:
  static constexpr int kRowStep = kShape.threads() / kChunkVectors;
  static constexpr int kRows = kShape.rows / kRowStep;
  static_assert(kRowStep % 8 == 0, "all rows of a thread are swizzled alike");
  static constexpr int kSigns = static_cast<int>(0x80008000u);

  // A position in two halves, which are added both at once: a borrow from the upper one comes only
  // of a lower one that is negative, and so outside.
  IFAST_DEVICE static int pack(int y, int x) { return y * (1 << 16) + x; }
  // A row of no image, also after adding a tap or this.
  static constexpr int kOutside = -(kMostExtent + kMostExtent / 2) * (1 << 16);

  const std::byte* base_;  // the image of the tile's first pixel
  int last_;
  int at_[kRows], offset_[kRows];  // of a row at tap {0, 0}; offsets in vectors
  std::uint32_t table_;            // the tap of the next vector
  int vector_;                     // of the tap's channels
  int tap_vectors_, tap_step_, vector_step_;
  std::uint32_t to_;
};

}  // namespace ifast::cuda
