#pragma once

#include "cuda/tile/depthwise.cuh"
#include "cuda/tile/local_response.cuh"
#include "cuda/tile/pad.cuh"
#include "cuda/tile/pointwise.cuh"
#include "cuda/tile/pool.cuh"
#include "cuda/tile/resize.cuh"
#include "ptx/sync.cuh"

// Steps that compute each vector of an output pixel's channels from a few input pixels.
namespace ifast::cuda {

// Thread by thread one vector of channels of one output pixel.
template <class Format>
class PixelTile {
 public:
  IFAST_DEVICE PixelTile(Record<Step> step, const Bindings& bindings, const std::byte* constants)
      : source_(step, bindings, constants) {}

  IFAST_DEVICE void run(int tile) const {
    const Step& step = source_.step;
    const int vectors = divide_up(step.channels, kLength);
    const int item = tile % step.cut.group_tiles * kThreads + ptx::thread_index();
    const int index = tile / step.cut.group_tiles * step.cut.group_pixels + item / vectors;
    const int pixels = source_.bindings.batch * step.height * step.width;
    if (item / vectors >= step.cut.group_pixels || index >= pixels) return;
    const Pixel at = pixel_at(step.width, step.height, index);
    const int channel = item % vectors * kLength, count = source_.count_at(channel);
    scatter(source_.bindings, source_.targets(), at, channel, count, compute(at, channel, count));
  }

 private:
  static constexpr int kLength = Tensor<Format>::kLength;

  IFAST_DEVICE Values<Format> compute(Pixel at, int channel, int count) const {
    switch (source_.step.kind) {
      case Kind::kDepthwise:
        return depthwise(source_, at, channel, count);
      case Kind::kMaxPool:
      case Kind::kAveragePool:
        return pool(source_, at, channel, count);
      case Kind::kPointwise:
        return pointwise(source_, at, channel, count);
      case Kind::kPad:
        return pad(source_, at, channel, count);
      case Kind::kGate:
        return gate(source_, at, channel, count);
      case Kind::kResize:
        return resize(source_, at, channel, count);
      case Kind::kLocalResponse:
        return local_response(source_, at, channel, count);
      case Kind::kConv:
      case Kind::kPair:
      case Kind::kNormalize:
      case Kind::kSoftmax:
        break;
    }
    // run_tile() gives those to others.
    ptx::trap();
    return {};
  }

  const PixelSource<Format> source_;
};

}  // namespace ifast::cuda
