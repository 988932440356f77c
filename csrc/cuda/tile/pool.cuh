#pragma once

#include "cuda/tile/pixel_source.cuh"

namespace ifast::cuda {

// A window along one axis, clipped to the image, and how many of its pixels the divisor counts.
struct Window {
  int begin, end, counted;
};

IFAST_DEVICE Window window_of(int at, int kernel, int stride, int padding, int padding_end,
                              int extent, bool counts_padding) {
  const int first = at * stride - padding, last = first + kernel;
  Window w{first > 0 ? first : 0, last < extent ? last : extent, 0};
  const int padded = extent + padding_end;
  w.counted = counts_padding ? (last < padded ? last : padded) - first : w.end - w.begin;
  return w;
}

// Window `at` of `size` windows that share an axis out.
IFAST_DEVICE Window adaptive_window(int at, int size, int extent) {
  const int begin = at * extent / size, end = divide_up((at + 1) * extent, size);
  return {begin, end, end - begin};
}

// The sum, or the larger ones, among which a NaN wins: it compares unequal to itself.
template <class Format>
IFAST_DEVICE void combine(Values<Format>& into, const Values<Format>& next, bool sum) {
  for (int i = 0; i < Values<Format>::kLength; ++i) {
    float& r = into.value[i];
    const float v = next.value[i];
    r = sum ? r + v : v > r || v != v ? v : r;
  }
}

template <class Format>
IFAST_DEVICE Values<Format> pool(const PixelSource<Format>& source, Pixel at, int channel,
                                 int count) {
  using Vector = Values<Format>;
  const Step& step = source.step;
  const Window rows = step.adaptive ? adaptive_window(at.y, step.height, step.source.height)
                                    : window_of(at.y, step.kernel.vertical, step.stride.vertical,
                                                step.padding.vertical, step.padding_end.vertical,
                                                step.source.height, step.counts_padding);
  const Window columns =
      step.adaptive
          ? adaptive_window(at.x, step.width, step.source.width)
          : window_of(at.x, step.kernel.horizontal, step.stride.horizontal, step.padding.horizontal,
                      step.padding_end.horizontal, step.source.width, step.counts_padding);
  const bool average = step.kind == Kind::kAveragePool;
  // Row by row, for the error of one long sum would grow with its length.
  Vector result{};
  for (int y = rows.begin; y < rows.end; ++y) {
    Vector row = source.read(at.n, y, columns.begin, channel, count);
    for (int x = columns.begin + 1; x < columns.end; ++x) {
      combine(row, source.read(at.n, y, x, channel, count), average);
    }
    if (y == rows.begin) {
      result = row;
    } else {
      combine(result, row, average);
    }
  }
  if (!average) return result;
  const float scale = 1.0f / static_cast<float>(rows.counted * columns.counted);
  const auto* bias = constant<float>(source.constants, step.bias);
  const Vector added = bias ? Vector::load(bias + channel, count) : Vector{};
  for (int i = 0; i < Vector::kLength; ++i) {
    result.value[i] = result.value[i] * scale + added.value[i];
  }
  return result;
}

}  // namespace ifast::cuda
