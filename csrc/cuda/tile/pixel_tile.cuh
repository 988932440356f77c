#pragma once

#include "cuda/tile/format.cuh"
#include "cuda/tile/record.cuh"
#include "cuda/tile/scatter.cuh"
#include "ptx/sync.cuh"

// Steps that compute each output pixel from a few input pixels: pools, pointwise, resize,
// normalise.
namespace ifast::cuda {

// Thread by thread one vector of channels of one output pixel.
template <class Format>
class PixelTile {
 public:
  IFAST_DEVICE PixelTile(Record<Step> step, const Frame& frame, const std::byte* constants)
      : step_(step.whole()),
        frame_(frame),
        constants_(constants),
        source_(frame, step_.source),
        whole_(source_.access_bytes() == kVectorBytes) {}

  IFAST_DEVICE void run(int tile) const {
    const int vectors = divide_up(step_.channels, kLength);
    const int item = tile % step_.cut.group_tiles * kThreads + ptx::thread_index();
    const int index = tile / step_.cut.group_tiles * step_.cut.group_pixels + item / vectors;
    const int pixels = frame_.batch * step_.height * step_.width;
    if (item / vectors >= step_.cut.group_pixels || index >= pixels) return;
    const Pixel at = pixel_at(step_.width, step_.height, index);
    const int channel = item % vectors * kLength;
    const int left = step_.channels - channel, count = left < kLength ? left : kLength;
    scatter(frame_, constant<Target>(constants_, step_.targets), step_.target_count, at, channel,
            count, compute(at, channel, count));
  }

 private:
  static constexpr int kLength = Tensor<Format>::kLength;
  using Vector = Values<Format>;

  IFAST_DEVICE Vector read(int n, int y, int x, int channel, int count) const {
    return Vector::load(source_, source_.at(n, y, x), channel, count, whole_);
  }

  IFAST_DEVICE Vector compute(Pixel at, int channel, int count) const {
    switch (step_.kind) {
      case Kind::kMaxPool:
      case Kind::kAveragePool:
        return pool(at, channel, count);
      case Kind::kResize:
        return resize(at, channel, count);
      default:
        return pointwise(at, channel, count);
    }
  }

  // A window along one axis, clipped to the image, and how many of its pixels the divisor counts.
  struct Window {
    int begin, end, counted;
  };

  IFAST_DEVICE Window window(int at, int kernel, int stride, int padding, int padding_end,
                             int extent) const {
    const int first = at * stride - padding, last = first + kernel;
    Window w{first > 0 ? first : 0, last < extent ? last : extent, 0};
    const int padded = extent + padding_end;
    w.counted = step_.counts_padding ? (last < padded ? last : padded) - first : w.end - w.begin;
    return w;
  }

  // The sum, or the larger ones, among which a NaN wins: it compares unequal to itself.
  IFAST_DEVICE static void combine(Vector& into, const Vector& next, bool sum) {
    for (int i = 0; i < kLength; ++i) {
      float& r = into.value[i];
      const float v = next.value[i];
      r = sum ? r + v : v > r || v != v ? v : r;
    }
  }

  IFAST_DEVICE Vector pool(Pixel at, int channel, int count) const {
    const Window rows =
        window(at.y, step_.kernel.vertical, step_.stride.vertical, step_.padding.vertical,
               step_.padding_end.vertical, step_.source.height);
    const Window columns =
        window(at.x, step_.kernel.horizontal, step_.stride.horizontal, step_.padding.horizontal,
               step_.padding_end.horizontal, step_.source.width);
    const bool average = step_.kind == Kind::kAveragePool;
    // Row by row, for the error of one long sum would grow with its length.
    Vector result{};
    for (int y = rows.begin; y < rows.end; ++y) {
      Vector row = read(at.n, y, columns.begin, channel, count);
      for (int x = columns.begin + 1; x < columns.end; ++x) {
        combine(row, read(at.n, y, x, channel, count), average);
      }
      if (y == rows.begin) {
        result = row;
      } else {
        combine(result, row, average);
      }
    }
    if (!average) return result;
    const float scale = 1.0f / static_cast<float>(rows.counted * columns.counted);
    const auto* bias = constant<float>(constants_, step_.bias);
    const Vector added = bias ? Vector::load(bias + channel, count) : Vector{};
    for (int i = 0; i < kLength; ++i) result.value[i] = result.value[i] * scale + added.value[i];
    return result;
  }

  IFAST_DEVICE Vector pointwise(Pixel at, int channel, int count) const {
    Vector result = read(at.n, at.y, at.x, channel, count);
    if (const auto* scale = constant<float>(constants_, step_.scale)) {
      const Vector factor = Vector::load(scale + channel, count);
      for (int i = 0; i < kLength; ++i) result.value[i] *= factor.value[i];
    }
    if (const auto* shift = constant<float>(constants_, step_.bias)) {
      const Vector added = Vector::load(shift + channel, count);
      for (int i = 0; i < kLength; ++i) result.value[i] += added.value[i];
    }
    if (step_.other.base >= 0) {
      const Tensor<Format> other(frame_, step_.other);
      const Vector added = Vector::load(other, other.at(at.n, at.y, at.x), channel, count,
                                        other.access_bytes() == kVectorBytes);
      for (int i = 0; i < kLength; ++i) result.value[i] += added.value[i];
    }
    return result;
  }

  // The two source positions around an output position, and the weight of the second.
  struct Neighbours {
    int first, second;
    float weight;
  };

  IFAST_DEVICE Neighbours neighbours(int at, int from, int to) const {
    float position = 0.0f;
    if (step_.align_corners) {
      if (to > 1) position = at * (static_cast<float>(from - 1) / static_cast<float>(to - 1));
    } else {
      const float scale = static_cast<float>(from) / static_cast<float>(to);
      position = (static_cast<float>(at) + 0.5f) * scale - 0.5f;
      if (position < 0.0f) position = 0.0f;
    }
    int first = static_cast<int>(position);
    if (first > from - 1) first = from - 1;
    return {first, first + 1 < from ? first + 1 : first, position - static_cast<float>(first)};
  }

  IFAST_DEVICE Vector resize(Pixel at, int channel, int count) const {
    const Neighbours y = neighbours(at.y, step_.source.height, step_.height);
    const Neighbours x = neighbours(at.x, step_.source.width, step_.width);
    Vector result{};
    for (int corner = 0; corner < 4; ++corner) {
      const bool lower = corner / 2, right = corner % 2;
      const float weight =
          (lower ? y.weight : 1.0f - y.weight) * (right ? x.weight : 1.0f - x.weight);
      const Vector v =
          read(at.n, lower ? y.second : y.first, right ? x.second : x.first, channel, count);
      for (int i = 0; i < kLength; ++i) result.value[i] += weight * v.value[i];
    }
    return result;
  }

  const Step step_;
  const Frame& frame_;
  const std::byte* constants_;
  const Tensor<Format> source_;
  const bool whole_;
};

// A warp a pixel; each lane sums every 32nd vector, then the lanes' sums meet in a fixed order.
template <class Format>
IFAST_DEVICE void normalize_tile(Record<Step> record, const Frame& frame,
                                 const std::byte* constants, int tile) {
  constexpr int kLength = Tensor<Format>::kLength, kLanes = 32;
  const Step step = record.whole();
  const int lane = ptx::thread_index() % kLanes;
  const int pixels = frame.batch * step.height * step.width;
  const int index = tile * step.cut.group_pixels + ptx::thread_index() / kLanes;
  if (index >= pixels) return;
  const Pixel at = pixel_at(step.width, step.height, index);
  const Tensor<Format> source(frame, step.source);
  const auto* pixel = source.at(at.n, at.y, at.x);
  const bool whole = source.access_bytes() == kVectorBytes;
  const auto read = [&](int channel) {
    const int left = step.channels - channel;
    return Values<Format>::load(source, pixel, channel, left < kLength ? left : kLength, whole);
  };
  float sum = 0.0f;
  for (int channel = lane * kLength; channel < step.channels; channel += kLanes * kLength) {
    const Values<Format> v = read(channel);
    for (int i = 0; i < kLength; ++i) sum += v.value[i] * v.value[i];
  }
  for (int mask = kLanes / 2; mask > 0; mask /= 2) sum += ptx::shuffle_xor(sum, mask);
  const float norm = ptx::square_root(sum);
  const float divisor = norm < step.eps ? step.eps : norm;
  for (int channel = lane * kLength; channel < step.channels; channel += kLanes * kLength) {
    Values<Format> v = read(channel);
    for (int i = 0; i < kLength; ++i) v.value[i] /= divisor;
    const int left = step.channels - channel;
    scatter(frame, constant<Target>(constants, step.targets), step.target_count, at, channel,
            left < kLength ? left : kLength, v);
  }
}

}  // namespace ifast::cuda
