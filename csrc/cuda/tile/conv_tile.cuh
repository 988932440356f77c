#pragma once

#include "cuda/tile/format.cuh"
#include "cuda/tile/scatter.cuh"
#include "ptx/async_copy.cuh"
#include "ptx/sync.cuh"

// One tile of a convolution as an implicit GEMM: kTileRows output pixels by kColumns output
// channels, K = taps x channels, each tap's channels rounded up to vectors of 16 bytes.
namespace ifast::cuda {

inline constexpr int kRing = 4;  // chunks of K in shared memory
inline constexpr int kActivationBytes = kTileRows * kChunkBytes;

template <int kColumns>
struct ConvMemory {
  static constexpr int kStageBytes = kActivationBytes + kColumns * kChunkBytes;
  // Sums wait here for the epilogue. Eight words past a multiple of 32 banks keep the lanes of a
  // store in different banks.
  static constexpr int kSumPitch = (kColumns + 8) * 4;
  static constexpr int kSumBytes = kTileRows * kSumPitch;
  static constexpr int kBytes = kRing * kStageBytes > kSumBytes ? kRing * kStageBytes : kSumBytes;
};

// Copies the input pixels that the tile's rows see, chunk after chunk: each thread one vector of
// the chunk, for two rows.
template <class Format>
class ActivationLoader {
 public:
  IFAST_DEVICE ActivationLoader(const Step& step, const Frame& frame, const Extent* taps,
                                int first_row, int thread)
      : step_(step),
        source_(frame, step.source),
        access_(source_.access_bytes()),
        taps_(taps),
        vector_(thread % kChunkVectors),
        tap_(0) {
    const int rows = frame.batch * step.height * step.width;
    for (int i = 0; i < kRows; ++i) {
      local_row_[i] = thread / kChunkVectors + i * kRowStep;
      const int row = first_row + local_row_[i];
      const Pixel at = pixel_at(step, row < rows ? row : 0);
      // A row past the end lies outside of every image.
      y_[i] = row < rows ? at.y * step.stride.vertical : kOutside;
      x_[i] = at.x * step.stride.horizontal;
      image_[i] = source_.at(at.n, 0, 0);
    }
    column_ = vector_;
    wrap();
  }

  IFAST_DEVICE void load_next(std::uint32_t stage) {
    const bool live = tap_ < step_.tap_count;
    const Extent tap = live ? ptx::load_global(taps_ + tap_) : Extent{0, 0};
    const int channel = vector_ * Tensor<Format>::kLength;
    const int left = step_.source.channels - channel;
    const int count = left < Tensor<Format>::kLength ? left : Tensor<Format>::kLength;
    for (int i = 0; i < kRows; ++i) {
      const int y = y_[i] + tap.vertical, x = x_[i] + tap.horizontal;
      const bool inside =
          live && y >= 0 && y < step_.source.height && x >= 0 && x < step_.source.width;
      const Element* from =
          inside ? image_[i] + y * source_.row + x * source_.column + channel * source_.channel
                 : source_.data;
      copy(stage + swizzle(local_row_[i], column_), from, inside ? count : 0);
    }
    vector_ += kChunkVectors;
    wrap();
  }

 private:
  using Element = typename Format::Element;
  static constexpr int kRowStep = kThreads / kChunkVectors;
  static constexpr int kRows = kTileRows / kRowStep;
  static constexpr int kOutside = -(1 << 30);

  IFAST_DEVICE void wrap() {
    while (vector_ >= step_.tap_vectors && tap_ < step_.tap_count) {
      vector_ -= step_.tap_vectors;
      ++tap_;
    }
  }

  IFAST_DEVICE void copy(std::uint32_t to, const Element* from, int count) {
    const int bytes = count * static_cast<int>(sizeof(Element));
    if (access_ == 16) {
      ptx::cp_async<16>(to, from, bytes);
    } else if (access_ == 8) {
      copy_pieces<8>(to, from, bytes);
    } else if (access_ == 4 && source_.channel == 1) {
      copy_pieces<4>(to, from, bytes);
    } else {
      const auto values = Values<Format>::load(source_, from, 0, count, false);
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

  const Step& step_;
  const Tensor<Format> source_;
  const int access_;
  const Extent* taps_;
  int vector_;  // of the tap's channels
  int tap_;
  int column_;  // of the chunk
  int local_row_[kRows], y_[kRows], x_[kRows];
  const Element* image_[kRows];
};

// Four warps, two by two, of 32 rows by kColumns / 2 columns each.
template <class Format, int kColumns>
class ConvTile {
 public:
  IFAST_DEVICE ConvTile(const Step& step, const Frame& frame, const std::byte* constants, int tile)
      : step_(step),
        frame_(frame),
        constants_(constants),
        thread_(ptx::thread_index()),
        column_tile_(tile % step.group_tiles),
        first_row_(tile / step.group_tiles * kTileRows),
        shared_(ptx::shared_memory()) {}

  // wait() returns when what the step reads is there.
  template <class Wait>
  IFAST_DEVICE void run(const Wait& wait) {
    multiply(wait);
    finish();
  }

 private:
  using Memory = ConvMemory<kColumns>;
  static constexpr int kRowTiles = 2;                    // of 16, per warp
  static constexpr int kColumnTiles = kColumns / 2 / 8;  // of 8, per warp
  static constexpr int kLength = Tensor<Format>::kLength;

  // Weights wait for nobody, so the first of them come before what does.
  template <class Wait>
  IFAST_DEVICE void multiply(const Wait& wait) {
    for (int chunk = 0; chunk < kRing - 1; ++chunk) load_weights(chunk);
    wait();
    ActivationLoader<Format> activations(step_, frame_, constant<Extent>(constants_, step_.taps),
                                         first_row_, thread_);
    for (int chunk = 0; chunk < kRing - 1; ++chunk) {
      if (chunk < step_.chunks) activations.load_next(stage(chunk));
      ptx::cp_async_commit();
    }
    for (int chunk = 0; chunk < step_.chunks; ++chunk) {
      ptx::cp_async_wait<kRing - 2>();
      // Everyone's copies have landed, and nobody reads the stage that is filled next.
      ptx::block_barrier();
      const int next = chunk + kRing - 1;
      load_weights(next);
      if (next < step_.chunks) activations.load_next(stage(next));
      ptx::cp_async_commit();
      multiply_chunk(stage(chunk));
    }
    ptx::cp_async_wait<0>();
  }

  IFAST_DEVICE std::uint32_t stage(int chunk) const {
    return shared_ + chunk % kRing * Memory::kStageBytes;
  }

  IFAST_DEVICE void load_weights(int chunk) {
    if (chunk >= step_.chunks) return;
    constexpr int kBytes = kColumns * kChunkBytes;
    const std::byte* from =
        constants_ + step_.weight + (std::int64_t{column_tile_} * step_.chunks + chunk) * kBytes;
    const std::uint32_t to = stage(chunk) + kActivationBytes;
    for (int at = thread_ * kVectorBytes; at < kBytes; at += kThreads * kVectorBytes) {
      ptx::cp_async<kVectorBytes>(to + at, from + at, kVectorBytes);
    }
  }

  IFAST_DEVICE void multiply_chunk(std::uint32_t activations) {
    const std::uint32_t weights = activations + kActivationBytes;
    const int lane = thread_ % 32, warp = thread_ / 32;
    const int row = warp / 2 * 32, column = warp % 2 * (kColumns / 2);
    IFAST_UNROLL
    for (int k = 0; k < kChunkVectors; k += 2) {
      std::uint32_t a[kRowTiles][4], b[kColumnTiles / 2][4];
      IFAST_UNROLL
      for (int i = 0; i < kRowTiles; ++i) {
        ptx::ldmatrix(a[i], activations + swizzle(row + 16 * i + lane % 16, k + lane / 16));
      }
      IFAST_UNROLL
      for (int j = 0; j < kColumnTiles / 2; ++j) {
        const int line = column + 16 * j + lane % 8 + lane / 16 * 8;
        ptx::ldmatrix(b[j], weights + swizzle(line, k + lane / 8 % 2));
      }
      using Left = typename Format::template Operand<4>;
      using Right = typename Format::template Operand<2>;
      static_assert(kRowTiles == 2);
      const Left left[kRowTiles] = {Left(a[0]), Left(a[1])};
      IFAST_UNROLL
      for (int j = 0; j < kColumnTiles; ++j) {
        const Right right(&b[j / 2][j % 2 * 2]);
        IFAST_UNROLL
        for (int i = 0; i < kRowTiles; ++i) Format::multiply(sum_[i][j], left[i], right);
      }
    }
  }

  // Through shared memory, so that each thread has neighbouring channels to write.
  IFAST_DEVICE void finish() {
    ptx::block_barrier();
    const int lane = thread_ % 32, warp = thread_ / 32;
    const int row = warp / 2 * 32 + lane / 4;
    const int column = warp % 2 * (kColumns / 2) + lane % 4 * 2;
    IFAST_UNROLL
    for (int i = 0; i < kRowTiles; ++i) {
      IFAST_UNROLL
      for (int j = 0; j < kColumnTiles; ++j) {
        const std::uint32_t at =
            shared_ + (row + 16 * i) * Memory::kSumPitch + (column + 8 * j) * 4;
        ptx::store_shared_pair(at, sum_[i][j][0], sum_[i][j][1]);
        ptx::store_shared_pair(at + 8 * Memory::kSumPitch, sum_[i][j][2], sum_[i][j][3]);
      }
    }
    ptx::block_barrier();
    const auto* targets = constant<Target>(constants_, step_.targets);
    const auto* bias = constant<float>(constants_, step_.bias);
    const int rows = frame_.batch * step_.height * step_.width;
    constexpr int kVectors = kColumns / kLength;
    for (int i = thread_; i < kTileRows * kVectors; i += kThreads) {
      const int index = first_row_ + i / kVectors;
      const int local = i % kVectors * kLength, channel = column_tile_ * kColumns + local;
      const int left = step_.channels - channel;
      if (index >= rows || left <= 0) continue;
      finish_vector(shared_ + i / kVectors * Memory::kSumPitch + local * 4, targets, bias,
                    pixel_at(step_, index), channel, left < kLength ? left : kLength);
    }
  }

  IFAST_DEVICE void finish_vector(std::uint32_t sums, const Target* targets, const float* bias,
                                  Pixel at, int channel, int count) {
    Values<Format> values;
    IFAST_UNROLL
    for (int i = 0; i < kLength; i += 4) {
      const ptx::Vector part = ptx::load_shared_vector(sums + i * 4);
      for (int j = 0; j < 4; ++j) values.value[i + j] = ptx::float_from_bits(part.word[j]);
    }
    if (bias != nullptr) {
      const auto added = Values<Format>::load(bias + channel, count);
      for (int i = 0; i < kLength; ++i) values.value[i] += added.value[i];
    }
    if (step_.other.base >= 0) {
      const Tensor<Format> residual(frame_, step_.other);
      const auto* from = residual.at(at.n, at.y, at.x);
      const auto added = Values<Format>::load(residual, from, channel, count,
                                              residual.access_bytes() == kVectorBytes);
      for (int i = 0; i < kLength; ++i) values.value[i] += added.value[i];
    }
    scatter(frame_, step_, targets, at, channel, count, values);
  }

  const Step& step_;
  const Frame& frame_;
  const std::byte* constants_;
  const int thread_;
  const int column_tile_;
  const int first_row_;
  const std::uint32_t shared_;
  float sum_[kRowTiles][kColumnTiles][4] = {};
};

}  // namespace ifast::cuda
