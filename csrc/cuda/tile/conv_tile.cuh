#pragma once

#include <utility>

#include "cuda/tile/format.cuh"
#include "cuda/tile/pixel_loader.cuh"
#include "cuda/tile/tile_trace.cuh"
#include "cuda/tile/vector_loader.cuh"
#include "ptx/sync.cuh"

namespace ifast::cuda {

// What one of kThreads threads sums: fragments of kRows by kColumns products.
template <int kRows, int kColumns, int kThreads>
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

// One tile of a convolution as an implicit GEMM: kShape.rows output pixels by kShape.columns output
// channels, K = taps x channels, each tap's channels rounded up to vectors of 16 bytes. Whatever a
// chunk of K needs is in registers before the first: the loop reads no Step.
template <class Format, TileShape kShape>
class ConvTile {
 public:
  IFAST_DEVICE ConvTile(Record<Step> step, const std::byte* constants, const ConvPart& part)
      : step_(step),
        constants_(constants),
        part_(part),
        thread_(ptx::thread_index()),
        shared_(ptx::shared_memory()) {
    const int lane = thread_ % 32, warp = thread_ / 32;
    const int row = warp / kShape.warp_columns * kWarpRows + lane % 16;
    const int column = warp % kShape.warp_columns * kWarpColumns + lane % 8 + lane / 16 * 8;
    left_ = ptx::keep(static_cast<std::uint32_t>(swizzle(row, lane / 16)));
    right_ = ptx::keep(static_cast<std::uint32_t>(swizzle(column, lane / 8 % 2)));
  }

  // Sums over the part's segment, or over all of them in their order. load(first_chunk) makes the
  // loader of what the step reads, which is there when turn.wait() returns.
  template <class Turn, class Load>
  IFAST_DEVICE void multiply(Turn& turn, const Load& load) {
    const int chunks = step_[&Step::chunks], segment_chunks = step_[&Step::segment_chunks];
    const int first = part_.segment * segment_chunks, own_end = first + segment_chunks;
    const int end = part_.partial == kNoPartials || own_end > chunks ? chunks : own_end;
    // Weights wait for nobody, so the first of them come before what does.
    Weights weights(*this, first);
    for (int i = 0; i < kAhead; ++i) {
      if (first + i < end) weights.load_next(stage(i));
    }
    auto loader = load(first);
    ptx::block_barrier();
    turn.wait();
    for (int i = 0; i < kAhead; ++i) {
      if (first + i < end) {
        loader.load_next(stage(i));
        loader.land();
      }
      ptx::cp_async_commit();
    }
    const std::uint32_t ring_end = stage(kShape.stages);
    std::uint32_t full = stage(0), free = stage(kAhead);
    const int last_load = end - kAhead;
    if (turn.trace().on()) {
      ptx::cp_async_wait<kAhead - 1>();
      ptx::block_barrier();
      turn.trace().mark_first(&TileRecord::first_chunk);
    }
    Sums total = {};
    for (int chunk = first; chunk < end;) {
      const int left = end - chunk;
      const int stop = segment_chunks < left ? chunk + segment_chunks : end;
      for (; chunk < stop; ++chunk) {
        ptx::cp_async_wait<kAhead - 1>();
        // Everyone's copies have landed, and nobody reads the stage that is filled next.
        ptx::block_barrier();
        const bool more = chunk < last_load;
        if (more) {
          loader.load_next(free);
          weights.load_next(free);
        }
        ptx::cp_async_commit();
        multiply_chunk(full);
        if (more) loader.land();
        free = full;
        full += kShape.stage_bytes();
        if (full == ring_end) full = shared_;
      }
      total.add(sum_);
      sum_ = {};
    }
    turn.trace().mark(&TileRecord::loop_end);
    ptx::cp_async_wait<0>();
    sum_ = total;
  }

  // write(pixel, channel, count, values) takes the results, without the activation. Returns false
  // where other segments are still to come, and the results with them.
  template <class Write>
  IFAST_DEVICE bool finish(const Bindings& bindings, const Write& write) {
    if (part_.partial != kNoPartials && !gather(bindings)) return false;
    write_sums(write);
    return true;
  }

 private:
  static constexpr int kAhead = kShape.stages - 1;  // chunks on their way
  static constexpr int kWarpRows = kShape.rows / kShape.warp_rows;
  static constexpr int kWarpColumns = kShape.columns / kShape.warp_columns;
  static constexpr int kRowTiles = kWarpRows / 16;
  static constexpr int kColumnTiles = kWarpColumns / 8;
  static_assert(kWarpRows % 16 == 0 && kWarpColumns % 16 == 0);
  static_assert(kShape.sum_bytes() + kVectorBytes <= kShape.shared_bytes());
  using Sums = ThreadSums<kRowTiles, kColumnTiles, kShape.threads()>;
  static constexpr int kLength = Tensor<Format>::kLength;

  // A chunk after the other of the tile's weights.
  class Weights {
   public:
    IFAST_DEVICE Weights(const ConvTile& tile, int chunk) {
      const int columns = tile.step_[&Step::weight_columns], column = tile.thread_ / kChunkVectors;
      // Where VectorLoader puts the same thread's first vector, so that both have one address.
      to_ = static_cast<std::uint32_t>(swizzle(column, tile.thread_ % kChunkVectors));
      chunk_bytes_ = columns * kChunkBytes;
      left_ = columns - tile.part_.channel - column;
      from_ = tile.constants_ + tile.step_[&Step::weight] + std::int64_t{chunk} * chunk_bytes_ +
              tile.part_.channel * kChunkBytes + to_;
    }

    IFAST_DEVICE void load_next(std::uint32_t stage) {
      constexpr int kStep = kShape.threads() / kChunkVectors;
      static_assert(kShape.columns % kStep == 0);
      IFAST_UNROLL
      for (int i = 0; i < kShape.columns; i += kStep) {
        ptx::cp_async<kVectorBytes>(stage + to_ + (kShape.rows + i) * kChunkBytes,
                                    from_ + i * kChunkBytes, i < left_ ? kVectorBytes : 0);
      }
      from_ = ptx::keep(from_ + chunk_bytes_);
    }

   private:
    const std::byte* from_;
    int chunk_bytes_;
    int left_;  // columns from this thread's first on that there are weights for
    std::uint32_t to_;
  };

  // Leaves the segment's sums in memory. To the block that is the last to do so at its tile it
  // returns true, and all segments' sums, added in their order.
  IFAST_DEVICE bool gather(const Bindings& bindings) {
    constexpr int kBytes = partials_of(kShape) * kPartialBytes;
    std::byte* const own = bindings.partials + std::int64_t{part_.partial} * kPartialBytes;
    std::byte* const first = own - std::int64_t{part_.segment} * kBytes;
    unsigned* const arrivals =
        bindings.arrivals + part_.partial - part_.segment * partials_of(kShape);
    const std::uint32_t flag = shared_ + kShape.sum_bytes();
    const int segments = step_[&Step::segments];
    sum_.store(own, thread_);
    // Everyone's sums are written, and nobody reads the ring.
    ptx::block_barrier();
    if (thread_ == 0) {
      const unsigned before = ptx::add_acquire_release(arrivals, 1);
      const bool last = before == static_cast<unsigned>(segments) - 1;
      if (last) ptx::store_global(arrivals, 0u);
      ptx::store_shared_vector(flag, {{last, 0, 0, 0}});
    }
    ptx::block_barrier();
    if (ptx::load_shared_vector(flag).word[0] == 0) return false;
    sum_ = {};
    for (int s = 0; s < segments; ++s) sum_.load_and_add(first + s * kBytes, thread_);
    return true;
  }

  IFAST_DEVICE std::uint32_t stage(int index) const {
    return shared_ + index * kShape.stage_bytes();
  }

  // The fragments' rows of eight are swizzled alike, so that a step along K is an exclusive or.
  IFAST_DEVICE void multiply_chunk(std::uint32_t stage) {
    const std::uint32_t left = stage + left_, right = stage + right_;
    IFAST_UNROLL
    for (int k = 0; k < kChunkVectors; k += 2) {
      std::uint32_t a[kRowTiles][4], b[kColumnTiles / 2][4];
      IFAST_UNROLL
      for (int i = 0; i < kRowTiles; ++i) {
        ptx::ldmatrix(a[i], (left ^ k * kVectorBytes) + 16 * i * kChunkBytes);
      }
      IFAST_UNROLL
      for (int j = 0; j < kColumnTiles / 2; ++j) {
        ptx::ldmatrix(b[j], (right ^ k * kVectorBytes) + (kShape.rows + 16 * j) * kChunkBytes);
      }
      multiply_step(a, b, std::make_integer_sequence<int, kRowTiles>{});
    }
  }

  template <int... kRow>
  IFAST_DEVICE void multiply_step(const std::uint32_t (&a)[kRowTiles][4],
                                  const std::uint32_t (&b)[kColumnTiles / 2][4],
                                  std::integer_sequence<int, kRow...>) {
    const typename Format::Left left[kRowTiles] = {typename Format::Left(a[kRow])...};
    IFAST_UNROLL
    for (int j = 0; j < kColumnTiles; ++j) {
      const typename Format::Right right(&b[j / 2][j % 2 * 2]);
      IFAST_UNROLL
      for (int i = 0; i < kRowTiles; ++i) Format::multiply(sum_.value[i][j], left[i], right);
    }
  }

  // Through shared memory, so that each thread has neighbouring channels to write.
  template <class Write>
  IFAST_DEVICE void write_sums(const Write& write) {
    ptx::block_barrier();
    const int lane = thread_ % 32, warp = thread_ / 32;
    const int row = warp / kShape.warp_columns * kWarpRows + lane / 4;
    const int column = warp % kShape.warp_columns * kWarpColumns + lane % 4 * 2;
    constexpr int kPitch = kShape.sum_pitch();
    IFAST_UNROLL
    for (int i = 0; i < kRowTiles; ++i) {
      IFAST_UNROLL
      for (int j = 0; j < kColumnTiles; ++j) {
        const std::uint32_t at = shared_ + (row + 16 * i) * kPitch + (column + 8 * j) * 4;
        ptx::store_shared_pair(at, sum_.value[i][j][0], sum_.value[i][j][1]);
        ptx::store_shared_pair(at + 8 * kPitch, sum_.value[i][j][2], sum_.value[i][j][3]);
      }
    }
    ptx::block_barrier();
    const auto* bias = constant<float>(constants_, step_[&Step::bias]);
    const int channels = step_[&Step::channels];
    constexpr int kVectors = kShape.columns / kLength;
    for (int i = thread_; i < kShape.rows * kVectors; i += kShape.threads()) {
      const int pixel = part_.begin + i / kVectors;
      const int local = i % kVectors * kLength, channel = part_.channel + local;
      const int left = channels - channel, count = left < kLength ? left : kLength;
      if (pixel >= part_.end || left <= 0) continue;
      Values<Format> values = sums(shared_ + i / kVectors * kPitch + local * 4);
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

  const Record<Step> step_;
  const std::byte* const constants_;
  const ConvPart part_;
  const int thread_;
  const std::uint32_t shared_;
  std::uint32_t left_, right_;  // where this lane's fragments begin in a chunk
  Sums sum_ = {};
};

// Adds the residual and writes to the targets: what ConvTile gives its results to. No lambda, which
// the compiler might call in place of inlining it. kFunctions: see scatter().
template <class Format, bool kFunctions>
class TargetWriter {
 public:
  IFAST_DEVICE TargetWriter(Record<Step> step, const Bindings& bindings, const std::byte* constants)
      : bindings_(bindings),
        targets_(constants, step[&Step::targets], step[&Step::target_count]),
        width_(step[&Step::width]),
        height_(step[&Step::height]),
        other_(step[&Step::other]) {}

  IFAST_DEVICE void operator()(int pixel, int channel, int count, Values<Format> values) const {
    const Pixel at = pixel_at(width_, height_, pixel);
    if (other_.base >= 0) {
      const Tensor<Format> residual(bindings_, other_);
      const auto* from = residual.at(at.n, at.y, at.x);
      const auto added = Values<Format>::load(residual, from, channel, count,
                                              residual.access_bytes() == kVectorBytes);
      for (int i = 0; i < Values<Format>::kLength; ++i) values.value[i] += added.value[i];
    }
    scatter<Format, kFunctions>(bindings_, targets_, at, channel, count, values);
  }

 private:
  const Bindings& bindings_;
  const Targets targets_;
  const int width_, height_;
  const View other_;
};

// Of a convolution that reads a buffer. kShape must be one of those for any source where the step
// has not whole vectors.
template <class Format, TileShape kShape, class Turn>
IFAST_DEVICE void multiply_global(ConvTile<Format, kShape>& conv, Record<Step> step,
                                  const Bindings& bindings, const std::byte* constants,
                                  const ConvPart& part, const Turn& turn) {
  const int thread = ptx::thread_index();
  if (!kShape.any_source || step[&Step::whole_vectors]) {
    conv.multiply(turn, [&](int first_chunk) {
      return VectorLoader<Format, kShape>(bindings, step, constants, part, first_chunk, thread);
    });
    return;
  }
  if constexpr (kShape.any_source) {
    conv.multiply(turn, [&](int first_chunk) {
      return PixelLoader<GlobalSource<Format>, kShape>(
          GlobalSource<Format>(bindings, step[&Step::source]), step, constants, part, first_chunk,
          thread);
    });
  }
}

// One tile of a convolution between buffers, or one segment of it; the segments of a tile follow
// each other. Returns whether the tile is complete.
template <class Format, TileShape kShape, class Turn>
IFAST_DEVICE bool conv_tile(Record<Step> step, const Cut& cut, const Bindings& bindings,
                            const std::byte* constants, int tile, int first_partial,
                            const Turn& turn) {
  const bool spread = first_partial != kNoPartials;
  const int segments = spread ? step[&Step::segments] : 1, whole = tile / segments;
  const int group_tiles = cut.group_tiles;
  const ConvPart part{whole / group_tiles * kShape.rows,
                      bindings.batch * step[&Step::height] * step[&Step::width],
                      whole % group_tiles * kShape.columns, tile % segments,
                      spread ? first_partial + tile * partials_of(kShape) : kNoPartials};
  ConvTile<Format, kShape> conv(step, constants, part);
  multiply_global<Format, kShape>(conv, step, bindings, constants, part, turn);
  turn.summed();
  return conv.finish(bindings, TargetWriter<Format, true>(step, bindings, constants));
}

}  // namespace ifast::cuda
