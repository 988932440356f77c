#pragma once

#include "cuda/tile/functions.cuh"

namespace ifast::cuda {

struct Pixel {
  int n, y, x;
};

IFAST_DEVICE Pixel pixel_at(int width, int height, int index) {
  const int line = index / width;
  return {line / height, line % height, index % width};
}

// The targets of a step.
struct Targets {
  const std::byte* constants;
  const Target* first;
  int count;

  IFAST_DEVICE Targets(const std::byte* all_constants, std::int64_t offset, int target_count)
      : constants(all_constants),
        first(constant<Target>(all_constants, offset)),
        count(target_count) {}
};

// Writes channels [channel, channel + count) of one output pixel to the targets that they belong
// to, with what each target applies. The Plan says which steps' targets have functions; for the
// others they are left out of the code.
template <class Format, bool kFunctions = true>
IFAST_DEVICE void scatter(const Bindings& bindings, const Targets& targets, Pixel at, int channel,
                          int count, const Values<Format>& values) {
  for (int t = 0; t < targets.count; ++t) {
    const Record<Target> target(targets.first + t);
    const View view = target[&Target::view];
    const int first = target[&Target::first];
    const Finish finish = target[&Target::finish];
    const int begin = channel > first ? channel : first;
    const int target_end = first + view.channels;
    const int end = channel + count < target_end ? channel + count : target_end;
    if (begin >= end) continue;
    const Tensor<Format> tensor(bindings, view);
    typename Format::Element* to = tensor.at(at.n, at.y, at.x) + (begin - first);
    Values<Format> part = values;
    switch (finish) {
      case Finish::kNothing:
        break;
      case Finish::kRelu:
        part.relu();
        break;
      case Finish::kFunction:
        if constexpr (kFunctions) {
          apply_function(part, target, targets.constants, channel - first);
        }
        break;
    }
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
