#pragma once

#include "cuda/tile/activation_loader.cuh"
#include "cuda/tile/format.cuh"
#include "ptx/sync.cuh"

// One tile of a convolution as an implicit GEMM: kTileRows output pixels by kColumns output
// channels, K = taps x channels, each tap's channels rounded up to vectors of 16 bytes.
namespace ifast::cuda {

inline constexpr int kActivationBytes = kTileRows * kChunkBytes;

template <int kColumns>
struct ConvMemory {
  static constexpr int kStageBytes = kActivationBytes + kColumns * kChunkBytes;
  // Sums wait here for the epilogue. Eight words past a multiple of 32 banks keep the lanes of a
  // store in different banks.
  static constexpr int kSumPitch = (kColumns + 8) * 4;
  static constexpr int kSumBytes = kTileRows * kSumPitch;
  static constexpr int kBytes = ring_bytes(kColumns);
  static_assert(kSumBytes <= kBytes);
};

// Four warps, two by two, of 32 rows by kColumns / 2 columns each.
template <class Format, int kColumns>
class ConvTile {
 public:
  IFAST_DEVICE ConvTile(const Step& step, const std::byte* constants, const ConvPart& part)
      : step_(step),
        constants_(constants),
        part_(part),
        thread_(ptx::thread_index()),
        shared_(ptx::shared_memory()) {}

  // wait() returns when what the step reads is there, and source() tells then where. write(pixel,
  // channel, count, values) takes the results, without the activation.
  template <class Wait, class Source, class Write>
  IFAST_DEVICE void run(const Wait& wait, const Source& source, const Write& write) {
    multiply(wait, source);
    finish(write);
  }

 private:
  using Memory = ConvMemory<kColumns>;
  static constexpr int kRowTiles = 2;                    // of 16, per warp
  static constexpr int kColumnTiles = kColumns / 2 / 8;  // of 8, per warp
  static constexpr int kLength = Tensor<Format>::kLength;

  // Weights wait for nobody, so the first of them come before what does.
  template <class Wait, class Source>
  IFAST_DEVICE void multiply(const Wait& wait, const Source& source) {
    for (int chunk = 0; chunk < kRing - 1; ++chunk) load_weights(chunk);
    wait();
    ActivationLoader activations(source(), step_, constant<Extent>(constants_, step_.taps), part_,
                                 thread_);
    for (int chunk = 0; chunk < kRing - 1; ++chunk) {
      if (chunk < step_.chunks) {
        activations.load_next(stage(chunk));
        activations.land();
      }
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
      if (next < step_.chunks) activations.land();
    }
    ptx::cp_async_wait<0>();
  }

  IFAST_DEVICE std::uint32_t stage(int chunk) const {
    return shared_ + chunk % kRing * Memory::kStageBytes;
  }

  IFAST_DEVICE void load_weights(int chunk) {
    if (chunk >= step_.chunks) return;
    constexpr int kBytes = kColumns * kChunkBytes;
    const std::byte* from = constants_ + step_.weight +
                            (std::int64_t{part_.column_tile} * step_.chunks + chunk) * kBytes;
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
  template <class Write>
  IFAST_DEVICE void finish(const Write& write) {
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
    const auto* bias = constant<float>(constants_, step_.bias);
    constexpr int kVectors = kColumns / kLength;
    for (int i = thread_; i < kTileRows * kVectors; i += kThreads) {
      const int pixel = part_.begin + i / kVectors;
      const int local = i % kVectors * kLength, channel = part_.column_tile * kColumns + local;
      const int left = step_.channels - channel, count = left < kLength ? left : kLength;
      if (pixel >= part_.end || left <= 0) continue;
      Values<Format> values = sums(shared_ + i / kVectors * Memory::kSumPitch + local * 4);
      if (bias != nullptr) {
        const auto added = Values<Format>::load(bias + channel, count);
        for (int k = 0; k < kLength; ++k) values.value[k] += added.value[k];
      }
      write(pixel, channel, count, values);
    }
  }

  IFAST_DEVICE static Values<Format> sums(std::uint32_t from) {
    Values<Format> values;
    IFAST_UNROLL
    for (int i = 0; i < kLength; i += 4) {
      const ptx::Vector part = ptx::load_shared_vector(from + i * 4);
      for (int j = 0; j < 4; ++j) values.value[i + j] = ptx::float_from_bits(part.word[j]);
    }
    return values;
  }

  const Step& step_;
  const std::byte* constants_;
  const ConvPart part_;
  const int thread_;
  const std::uint32_t shared_;
  float sum_[kRowTiles][kColumnTiles][4] = {};
};

// Adds the residual and writes to the targets: what ConvTile gives its results to. No lambda, which
// the compiler might call in place of inlining it.
template <class Format>
class TargetWriter {
 public:
  IFAST_DEVICE TargetWriter(const Step& step, const Frame& frame, const std::byte* constants)
      : step_(step), frame_(frame), targets_(constant<Target>(constants, step.targets)) {}

  IFAST_DEVICE void operator()(int pixel, int channel, int count, Values<Format> values) const {
    const Pixel at = pixel_at(step_, pixel);
    if (step_.other.base >= 0) {
      const Tensor<Format> residual(frame_, step_.other);
      const auto* from = residual.at(at.n, at.y, at.x);
      const auto added = Values<Format>::load(residual, from, channel, count,
                                              residual.access_bytes() == kVectorBytes);
      for (int i = 0; i < Values<Format>::kLength; ++i) values.value[i] += added.value[i];
    }
    scatter(frame_, step_, targets_, at, channel, count, values);
  }

 private:
  const Step& step_;
  const Frame& frame_;
  const Target* targets_;
};

// One tile of a convolution between buffers.
template <class Format, int kColumns, class Wait>
IFAST_DEVICE void conv_tile(const Step& step, const Frame& frame, const std::byte* constants,
                            int tile, const Wait& wait) {
  const ConvPart part{tile / step.group_tiles * kTileRows, frame.batch * step.height * step.width,
                      tile % step.group_tiles};
  ConvTile<Format, kColumns>(step, constants, part)
      .run(
          wait, [&] { return GlobalSource<Format>(frame, step.source); },
          TargetWriter<Format>(step, frame, constants));
}

}  // namespace ifast::cuda
