#pragma once

#include "cuda/tile/record.cuh"
#include "cuda/tile/scatter.cuh"

namespace ifast::cuda {

// A step whose output pixels come from a few input pixels each, and how a thread reads its source:
// one vector of channels of one pixel.
template <class Format>
struct PixelSource {
  static constexpr int kLength = Tensor<Format>::kLength;

  const Step step;
  const Bindings& bindings;
  const std::byte* constants;
  const Tensor<Format> tensor;
  const bool whole;

  IFAST_DEVICE PixelSource(Record<Step> record, const Bindings& all, const std::byte* all_constants)
      : step(record.whole()),
        bindings(all),
        constants(all_constants),
        tensor(all, step.source),
        whole(tensor.access_bytes() == kVectorBytes) {}

  IFAST_DEVICE Values<Format> read(int n, int y, int x, int channel, int count) const {
    return Values<Format>::load(tensor, tensor.at(n, y, x), channel, count, whole);
  }

  // Of the vector that begins with a channel.
  IFAST_DEVICE int count_at(int channel) const {
    const int left = step.channels - channel;
    return left < kLength ? left : kLength;
  }

  IFAST_DEVICE Targets targets() const { return {constants, step.targets, step.target_count}; }
};

}  // namespace ifast::cuda
