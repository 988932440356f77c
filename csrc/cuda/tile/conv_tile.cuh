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

// What a thread sums: fragments of kRows by kColumns products.
template <int kRows, int kColumns>
struct ThreadSums {
  float value[kRows][kColumns][4];

  IFAST_DEVICE void add(const ThreadSums& other) {
    IFAST_UNROLL
    for (int i = 0; i < kRows; ++i) {
      IFAST_UNROLL
      for (int j = 0; j < kColumns; ++j) {
        IFAST_UNROLL
        for (int k = 0; k < 4; ++k) value[i][j][k] += other.value[i][j][k];
      }
    }
  }

  // In memory, fragment by fragment, a vector a thread.
  IFAST_DEVICE void store(std::byte* to, int thread) const {
    IFAST_UNROLL
    for (int i = 0; i < kRows * kColumns; ++i) {
      const float* v = value[i / kColumns][i % kColumns];
      ptx::Vector vector;
      for (int k = 0; k < 4; ++k) vector.word[k] = ptx::bits_from_float(v[k]);
      ptx::store_global_vector(to + (i * kThreads + thread) * kVectorBytes, vector);
    }
  }
  IFAST_DEVICE void load_and_add(const std::byte* from, int thread) {
    IFAST_UNROLL
    for (int i = 0; i < kRows * kColumns; ++i) {
      const ptx::Vector vector =
          ptx::load_global_vector(from + (i * kThreads + thread) * kVectorBytes);
      float* v = value[i / kColumns][i % kColumns];
      for (int k = 0; k < 4; ++k) v[k] += ptx::float_from_bits(vector.word[k]);
    }
  }
};

// Four warps, two by two, of 32 rows by kColumns / 2 columns each.
template <class Format, int kColumns>
class ConvTile {
 public:
  IFAST_DEVICE ConvTile(const Step& step, const std::byte* constants, const ConvPart& part)
      : step_(step),
        constants_(constants),
        part_(part),
        first_chunk_(part.segment * step.segment_chunks),
        end_chunk_(end_chunk(step, part)),
        thread_(ptx::thread_index()),
        shared_(ptx::shared_memory()) {}

  // wait() returns when what the step reads is there, and source() tells then where. write(pixel,
  // channel, count, values) takes the results, without the activation. Returns false where other
  // segments are still to come, and the results with them.
  template <class Wait, class Source, class Write>
  IFAST_DEVICE bool run(const Frame& frame, const Wait& wait, const Source& source,
                        const Write& write) {
    multiply(wait, source);
    if constexpr (kSegmented) {
      if (part_.partial != kNoPartials && !gather(frame)) return false;
    }
    finish(write);
    return true;
  }

 private:
  using Memory = ConvMemory<kColumns>;
  static constexpr int kRowTiles = 2;                    // of 16, per warp
  static constexpr int kColumnTiles = kColumns / 2 / 8;  // of 8, per warp
  using Sums = ThreadSums<kRowTiles, kColumnTiles>;
  static constexpr int kLength = Tensor<Format>::kLength;
  static constexpr bool kSegmented = kColumns == kNarrowTile;

  IFAST_DEVICE static int end_chunk(const Step& step, const ConvPart& part) {
    const int end = (part.segment + 1) * step.segment_chunks;
    return part.partial == kNoPartials || end > step.chunks ? step.chunks : end;
  }

  // Weights wait for nobody, so the first of them come before what does.
  template <class Wait, class Source>
  IFAST_DEVICE void multiply(const Wait& wait, const Source& source) {
    for (int i = 0; i < kRing - 1; ++i) load_weights(first_chunk_ + i);
    wait();
    ActivationLoader activations(source(), step_, constant<Extent>(constants_, step_.taps), part_,
                                 first_chunk_, thread_);
    for (int i = 0; i < kRing - 1; ++i) {
      if (first_chunk_ + i < end_chunk_) {
        activations.load_next(stage(first_chunk_ + i));
        activations.land();
      }
      ptx::cp_async_commit();
    }
    Sums total = {};
    int left = step_.segment_chunks;
    for (int chunk = first_chunk_; chunk < end_chunk_; ++chunk) {
      ptx::cp_async_wait<kRing - 2>();
      // Everyone's copies have landed, and nobody reads the stage that is filled next.
      ptx::block_barrier();
      const int next = chunk + kRing - 1;
      load_weights(next);
      if (next < end_chunk_) activations.load_next(stage(next));
      ptx::cp_async_commit();
      multiply_chunk(stage(chunk));
      if (next < end_chunk_) activations.land();
      if constexpr (kSegmented) {
        if (--left == 0) {
          total.add(sum_);
          sum_ = {};
          left = step_.segment_chunks;
        }
      }
    }
    ptx::cp_async_wait<0>();
    if constexpr (kSegmented) {
      total.add(sum_);
      sum_ = total;
    }
  }

  // Leaves the segment's sums in memory. To the block that is the last to do so at its tile it
  // returns true, and all segments' sums, added in their order.
  IFAST_DEVICE bool gather(const Frame& frame) {
    std::byte* const own = frame.partials + std::int64_t{part_.partial} * kPartialBytes;
    std::byte* const first = own - std::int64_t{part_.segment} * kPartialBytes;
    unsigned* const arrivals = frame.arrivals + part_.partial - part_.segment;
    const std::uint32_t flag = shared_ + Memory::kSumBytes;
    sum_.store(own, thread_);
    // Everyone's sums are written, and nobody reads the ring.
    ptx::block_barrier();
    if (thread_ == 0) {
      const unsigned before = ptx::add_acquire_release(arrivals, 1);
      const bool last = before == static_cast<unsigned>(step_.segments) - 1;
      if (last) ptx::store_global(arrivals, 0u);
      ptx::store_shared_vector(flag, {{last, 0, 0, 0}});
    }
    ptx::block_barrier();
    if (ptx::load_shared_vector(flag).word[0] == 0) return false;
    sum_ = {};
    for (int s = 0; s < step_.segments; ++s) sum_.load_and_add(first + s * kPartialBytes, thread_);
    return true;
  }

  IFAST_DEVICE std::uint32_t stage(int chunk) const {
    return shared_ + chunk % kRing * Memory::kStageBytes;
  }

  IFAST_DEVICE void load_weights(int chunk) {
    if (chunk >= end_chunk_) return;
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
        for (int i = 0; i < kRowTiles; ++i) Format::multiply(sum_.value[i][j], left[i], right);
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
        ptx::store_shared_pair(at, sum_.value[i][j][0], sum_.value[i][j][1]);
        ptx::store_shared_pair(at + 8 * Memory::kSumPitch, sum_.value[i][j][2],
                               sum_.value[i][j][3]);
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
  const int first_chunk_;
  const int end_chunk_;
  const int thread_;
  const std::uint32_t shared_;
  Sums sum_ = {};
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

// One tile of a convolution between buffers, or one segment of it; the segments of a tile follow
// each other. Returns whether the tile is complete.
template <class Format, int kColumns, class Wait>
IFAST_DEVICE bool conv_tile(const Step& step, const Frame& frame, const std::byte* constants,
                            int tile, int first_partial, const Wait& wait) {
  const bool spread = first_partial != kNoPartials;
  const int whole = spread ? tile / step.segments : tile;
  const ConvPart part{whole / step.group_tiles * kTileRows, frame.batch * step.height * step.width,
                      whole % step.group_tiles, spread ? tile % step.segments : 0,
                      spread ? first_partial + tile : kNoPartials};
  return ConvTile<Format, kColumns>(step, constants, part)
      .run(
          frame, wait, [&] { return GlobalSource<Format>(frame, step.source); },
          TargetWriter<Format>(step, frame, constants));
}

}  // namespace ifast::cuda
