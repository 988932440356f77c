#pragma once

#include "cuda/tile/pixel_source.cuh"
#include "ptx/sync.cuh"

// Steps for which all channels of a pixel must meet.
namespace ifast::cuda {

// A warp a pixel: each lane takes every 32nd vector, and the lanes' results meet in a fixed order.
template <class Format>
class WholePixel {
 public:
  IFAST_DEVICE WholePixel(Record<Step> step, const Bindings& bindings, const std::byte* constants)
      : source_(step, bindings, constants) {}

  IFAST_DEVICE void run(int tile) const {
    const Step& step = source_.step;
    const int pixels = source_.bindings.batch * step.height * step.width;
    const int index = tile * step.cut.group_pixels + ptx::thread_index() / kLanes;
    if (index >= pixels) return;
    const Pixel at = pixel_at(step.width, step.height, index);
    if (step.kind == Kind::kSoftmax) {
      softmax(at);
    } else {
      normalize(at);
    }
  }

 private:
  static constexpr int kLength = Tensor<Format>::kLength, kLanes = 32;

  // take(value) of each of the lane's channels.
  template <class Take>
  IFAST_DEVICE void each(Pixel at, const Take& take) const {
    for (int channel = first(); channel < source_.step.channels; channel += kLanes * kLength) {
      const int count = source_.count_at(channel);
      const Values<Format> v = source_.read(at.n, at.y, at.x, channel, count);
      for (int i = 0; i < kLength; ++i) {
        if (i < count) take(v.value[i]);
      }
    }
  }

  // Writes map(value) of each.
  template <class Map>
  IFAST_DEVICE void write(Pixel at, const Map& map) const {
    for (int channel = first(); channel < source_.step.channels; channel += kLanes * kLength) {
      const int count = source_.count_at(channel);
      Values<Format> v = source_.read(at.n, at.y, at.x, channel, count);
      v.each(map);
      scatter<Format, false>(source_.bindings, source_.targets(), at, channel, count, v);
    }
  }

  IFAST_DEVICE static int first() { return ptx::thread_index() % kLanes * kLength; }

  IFAST_DEVICE static float sum_of_lanes(float sum) {
    for (int mask = kLanes / 2; mask > 0; mask /= 2) sum += ptx::shuffle_xor(sum, mask);
    return sum;
  }

  IFAST_DEVICE void normalize(Pixel at) const {
    float sum = 0.0f;
    each(at, [&](float v) { sum += v * v; });
    const float norm = ptx::square_root(sum_of_lanes(sum)), eps = source_.step.eps;
    const float divisor = norm < eps ? eps : norm;
    write(at, [=](float v) { return v / divisor; });
  }

  // Less the largest, so that no exponential overflows. A NaN is no largest, but spoils the sum.
  IFAST_DEVICE void softmax(Pixel at) const {
    constexpr std::uint32_t kMinusInfinity = 0xff800000;
    float most = ptx::float_from_bits(kMinusInfinity);
    each(at, [&](float v) { most = v > most ? v : most; });
    for (int mask = kLanes / 2; mask > 0; mask /= 2) {
      const float other = ptx::shuffle_xor(most, mask);
      most = other > most ? other : most;
    }
    float sum = 0.0f;
    each(at, [&](float v) { sum += ptx::exp(v - most); });
    sum = sum_of_lanes(sum);
    const bool logarithm = source_.step.logarithm;
    const float log = ptx::log(sum);
    write(at, [=](float v) { return logarithm ? v - most - log : ptx::exp(v - most) / sum; });
  }

  const PixelSource<Format> source_;
};

}  // namespace ifast::cuda
