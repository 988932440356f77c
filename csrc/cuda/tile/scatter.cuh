#pragma once

#include "cuda/tile/tensor.cuh"

namespace ifast::cuda {

struct Pixel {
  int n, y, x;
};

IFAST_DEVICE Pixel pixel_at(int width, int height, int index) {
  const int line = index / width;
  return {line / height, line % height, index % width};
}

// Writes channels [channel, channel + count) of one output pixel to the targets that they belong
// to, with each target's ReLU.
template <class Format>
IFAST_DEVICE void scatter(const Frame& frame, const Target* targets, int target_count, Pixel at,
                          int channel, int count, const Values<Format>& values) {
  for (int t = 0; t < target_count; ++t) {
    const Target target = ptx::load_record(targets + t);
    const int begin = channel > target.first ? channel : target.first;
    const int target_end = target.first + target.view.channels;
    const int end = channel + count < target_end ? channel + count : target_end;
    if (begin >= end) continue;
    const Tensor<Format> tensor(frame, target.view);
    typename Format::Element* to = tensor.at(at.n, at.y, at.x) + (begin - target.first);
    Values<Format> part = values;
    if (target.relu) part.relu();
    if (end - begin == Values<Format>::kLength) {
      part.store(to, end - begin, is_vector_aligned(to));
      continue;
    }
    for (int i = 0; i < Values<Format>::kLength; ++i) {
      if (channel + i >= begin && channel + i < end) {
        ptx::store_global(to + (channel + i - begin), Format::store(part.value[i]));
      }
    }
  }
}

}  // namespace ifast::cuda
