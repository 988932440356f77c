#pragma once

#include "cuda/tile/scatter.cuh"
#include "ptx/async_copy.cuh"

// How the input pixels that a convolution tile sees come into shared memory, chunk of K after
// chunk.
namespace ifast::cuda {

// Output pixels [begin, end) of all images, at most kTileRows of which are the tile's, by one tile
// of output channels; of all of K, or of one segment.
struct ConvPart {
  int begin;
  int end;
  int column_tile;
  int segment = 0;
  int partial = kNoPartials;  // where the segment's sums go
};

// An image in global memory.
template <class Format>
class GlobalSource {
 public:
  using Element = typename Format::Element;
  using Image = const Element*;

  IFAST_DEVICE GlobalSource(const Frame& frame, const View& view)
      : tensor_(frame, view), access_(tensor_.access_bytes()), channels_(view.channels) {}

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

// Copies the pixels that the tile's rows see: each thread one vector of a chunk, for two rows.
template <class Source>
class ActivationLoader {
 public:
  IFAST_DEVICE ActivationLoader(const Source& source, const Step& step, const Extent* taps,
                                const ConvPart& part, int first_chunk, int thread)
      : source_(source), step_(step), taps_(taps), column_(thread % kChunkVectors) {
    const int vector = first_chunk * kChunkVectors + column_;
    tap_ = vector / step.tap_vectors;
    vector_ = vector % step.tap_vectors;
    IFAST_UNROLL
    for (int i = 0; i < kRows; ++i) {
      local_row_[i] = thread / kChunkVectors + i * kRowStep;
      const int row = part.begin + local_row_[i];
      const bool exists = row < part.end;
      const Pixel at = pixel_at(step, exists ? row : 0);
      // A row past the end lies outside of every image.
      y_[i] = exists ? at.y * step.stride.vertical : kOutside;
      x_[i] = at.x * step.stride.horizontal;
      image_[i] = source_.image(at.n);
    }
  }

  // A chunk is there when the copies of this thread have landed after land().
  IFAST_DEVICE void load_next(std::uint32_t stage) {
    const bool live = tap_ < step_.tap_count;
    const Extent tap = live ? ptx::load_global(taps_ + tap_) : Extent{0, 0};
    IFAST_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const int y = y_[i] + tap.vertical, x = x_[i] + tap.horizontal;
      const bool inside =
          live && y >= 0 && y < step_.source.height && x >= 0 && x < step_.source.width;
      source_.copy(i, stage + swizzle(local_row_[i], column_), image_[i], y, x, vector_, inside);
    }
    vector_ += kChunkVectors;
    while (vector_ >= step_.tap_vectors && tap_ < step_.tap_count) {
      vector_ -= step_.tap_vectors;
      ++tap_;
    }
  }

  IFAST_DEVICE void land() { source_.land(); }

 private:
  static constexpr int kRowStep = kThreads / kChunkVectors;
  static constexpr int kRows = kTileRows / kRowStep;
  static constexpr int kOutside = -(1 << 30);

  Source source_;
  const Step& step_;
  const Extent* taps_;
  const int column_;  // of the chunk
  int tap_;
  int vector_;  // of the tap's channels
  int local_row_[kRows], y_[kRows], x_[kRows];
  typename Source::Image image_[kRows];
};

}  // namespace ifast::cuda
