#pragma once

#include "cuda/tile/conv_part.cuh"
#include "cuda/tile/record.cuh"
#include "cuda/tile/scatter.cuh"
#include "ptx/async_copy.cuh"

namespace ifast::cuda {

// An image in global memory, of any alignment and layout.
template <class Format>
class GlobalSource {
 public:
  using Element = typename Format::Element;
  using Image = const Element*;

  IFAST_DEVICE GlobalSource(const Bindings& bindings, const View& view)
      : tensor_(bindings, view), access_(tensor_.access_bytes()), channels_(view.channels) {}

  IFAST_DEVICE Image image(int n) const { return tensor_.at(n, 0, 0); }

  // Sends for one vector of a pixel's channels, or for zeros.
  IFAST_DEVICE void copy(int, std::uint32_t to, Image image, int y, int x, int vector,
                         bool inside) {
    const int channel = vector * Tensor<Format>::kLength, left = channels_ - channel;
    const int count = left < Tensor<Format>::kLength ? left : Tensor<Format>::kLength;
    const Element* from =
        inside ? image + y * tensor_.row + x * tensor_.column + channel * tensor_.channel
               : tensor_.data;
    copy_elements(to, from, inside ? count : 0);
  }

  IFAST_DEVICE void land() {}

 private:
  IFAST_DEVICE void copy_elements(std::uint32_t to, const Element* from, int count) {
    const int bytes = count * static_cast<int>(sizeof(Element));
    if (access_ == 16) {
      ptx::cp_async<16>(to, from, bytes);
    } else if (access_ == 8) {
      copy_pieces<8>(to, from, bytes);
    } else if (access_ == 4 && tensor_.channel == 1) {
      copy_pieces<4>(to, from, bytes);
    } else {
      const auto values = Values<Format>::load(tensor_, from, 0, count, false);
      ptx::store_shared_vector(to, values.pack());
    }
  }

  template <int kBytes>
  IFAST_DEVICE void copy_pieces(std::uint32_t to, const Element* from, int bytes) {
    const auto* start = reinterpret_cast<const std::byte*>(from);
    for (int at = 0; at < kVectorBytes; at += kBytes) {
      const int valid = bytes - at < 0 ? 0 : bytes - at < kBytes ? bytes - at : kBytes;
      ptx::cp_async<kBytes>(to + at, valid > 0 ? start + at : start, valid);
    }
  }

  const Tensor<Format> tensor_;
  const int access_;
  const int channels_;
};

// Copies the pixels that a tile's rows see out of any source: each thread the same vector of a
// chunk for every kRowStep-th row.
template <class Source, TileShape kShape>
class PixelLoader {
 public:
  IFAST_DEVICE PixelLoader(const Source& source, Record<Step> step, const std::byte* constants,
                           const ConvPart& part, int first_chunk, int thread)
      : source_(source),
        taps_(constant<Extent>(constants, step[&Step::taps])),
        tap_count_(step[&Step::tap_count]),
        tap_vectors_(step[&Step::tap_vectors]),
        column_(thread % kChunkVectors),
        first_row_(thread / kChunkVectors) {
    const View view = step[&Step::source];
    source_height_ = view.height;
    source_width_ = view.width;
    const int vector = first_chunk * kChunkVectors + column_;
    tap_ = vector / tap_vectors_;
    vector_ = vector % tap_vectors_;
    const Extent stride = step[&Step::stride];
    const int width = step[&Step::width], height = step[&Step::height];
    IFAST_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const int row = part.begin + first_row_ + i * kRowStep;
      const bool exists = row < part.end;
      const Pixel at = pixel_at(width, height, exists ? row : 0);
      // A row past the end lies outside of every image.
      y_[i] = exists ? at.y * stride.vertical : kOutside;
      x_[i] = at.x * stride.horizontal;
      image_[i] = source_.image(at.n);
    }
  }

  // A chunk is there when the copies of this thread have landed after land().
  IFAST_DEVICE void load_next(std::uint32_t stage) {
    const bool live = tap_ < tap_count_;
    const Extent tap = live ? ptx::load_global(taps_ + tap_) : Extent{0, 0};
    IFAST_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const int y = y_[i] + tap.vertical, x = x_[i] + tap.horizontal;
      const bool inside = live && y >= 0 && y < source_height_ && x >= 0 && x < source_width_;
      source_.copy(i, stage + swizzle(first_row_ + i * kRowStep, column_), image_[i], y, x, vector_,
                   inside);
    }
    vector_ += kChunkVectors;
    while (vector_ >= tap_vectors_ && tap_ < tap_count_) {
      vector_ -= tap_vectors_;
      ++tap_;
    }
  }

  IFAST_DEVICE void land() { source_.land(); }

 private:
  static constexpr int kRowStep = kShape.threads() / kChunkVectors;
  static constexpr int kRows = kShape.rows / kRowStep;
  static constexpr int kOutside = -(1 << 30);

  Source source_;
  const Extent* taps_;
  const int tap_count_, tap_vectors_;
  const int column_;  // of the chunk
  const int first_row_;
  int source_height_, source_width_;
  int tap_;
  int vector_;  // of the tap's channels
  int y_[kRows], x_[kRows];
  typename Source::Image image_[kRows];
};

}  // namespace ifast::cuda
