#include "cpu/ops/pad_ops.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "cpu/kernels/convert.h"
#include "cpu/ops/pixels.h"

namespace ifast::cpu {
namespace {

constexpr int kBytes = 256;

const float* data_or_null(const std::vector<float>& v) { return v.empty() ? nullptr : v.data(); }

// Pixels of one row: those of the image are [first, last), the others are margins.
struct Run {
  Pixel at;
  int pixels;
  int first, last;
};

// body(run) for the rows that a range of a target's pixels goes through.
template <class Body>
void each_run(const View& target, const View& source, const Pair& padding, Range range,
              const Body& body) {
  for (int p = range.begin; p < range.end;) {
    const Pixel at = pixel_at(target, p);
    const int pixels = std::min(range.end - p, target.width - at.x);
    const bool is_row = at.y >= padding.vertical && at.y < padding.vertical + source.height;
    const auto inside = [&](int x) { return std::clamp(x - at.x, 0, pixels); };
    const int first = is_row ? inside(padding.horizontal) : pixels;
    const int last = is_row ? inside(padding.horizontal + source.width) : pixels;
    body(Run{at, pixels, first, std::max(first, last)});
    p += pixels;
  }
}

void fill(std::byte* out, std::ptrdiff_t stride, int pixels, const std::byte* pixel,
          std::size_t bytes) {
  for (int i = 0; i < pixels; ++i) std::memcpy(out + i * stride, pixel, bytes);
}

// kChannels 0: as many as there are.
template <class T, int kChannels>
void look_up(const std::uint8_t* source, const Strides& strides, T* out, std::ptrdiff_t out_stride,
             int pixels, int all_channels, const T* table) {
  const int channels = kChannels ? kChannels : all_channels;
  for (int x = 0; x < pixels; ++x) {
    for (int c = 0; c < channels; ++c) {
      out[c] = table[source[c * strides.channel] * channels + c];
    }
    source += strides.column;
    out += out_stride;
  }
}

template <class T>
void look_up_all(const std::byte* source, const Strides& strides, std::byte* out,
                 std::ptrdiff_t out_stride, int pixels, int channels, const std::byte* table) {
  const auto* from = reinterpret_cast<const std::uint8_t*>(source);
  const auto* entries = reinterpret_cast<const T*>(table);
  auto* to = reinterpret_cast<T*>(out);
  if (channels == 3) {
    look_up<T, 3>(from, strides, to, out_stride, pixels, channels, entries);
  } else {
    look_up<T, 0>(from, strides, to, out_stride, pixels, channels, entries);
  }
}

float activated(double value, const Target& target) {
  const auto number = static_cast<float>(value);
  return target.relu ? std::max(number, 0.0f) : number;
}

}  // namespace

PadOp::PadOp(const PadStep& step, View source, Target target, std::vector<float> scale,
             std::vector<float> shift, const Kernels& kernels, Dtype stored)
    : source_(source),
      target_(std::move(target)),
      padding_(step.padding),
      scale_(std::move(scale)),
      shift_(std::move(shift)),
      border_(
          from_floats(std::vector<float>(source.channels, activated(step.value, target_)), stored)),
      kernels_(kernels) {}

Tiling PadOp::tile(int batch, int threads) const {
  return tile_pixels(target_.view, batch, threads);
}

void PadOp::run(const Bindings& bindings, const Tiling& tiling, int task, Scratch&) const {
  const View& target = target_.view;
  const std::ptrdiff_t stride = bindings.strides[target.buffer].column;
  const auto bytes = stride * static_cast<std::ptrdiff_t>(target.element_size);
  each_run(
      target, source_, padding_, pixels_of(target, bindings, tiling, task), [&](const Run& run) {
        std::byte* out = bindings.at(target, run.at.n, run.at.y, run.at.x);
        fill(out, bytes, run.first, border_.data(), border_.size());
        fill(out + run.last * bytes, bytes, run.pixels - run.last, border_.data(), border_.size());
        if (run.first == run.last) return;
        PointwiseCall call;
        call.source = bindings.at(source_, run.at.n, run.at.y - padding_.vertical,
                                  run.at.x + run.first - padding_.horizontal);
        call.source_stride = bindings.strides[source_.buffer].column;
        call.scale = data_or_null(scale_);
        call.shift = data_or_null(shift_);
        call.relu = target_.relu;
        call.out = out + run.first * bytes;
        call.out_stride = stride;
        call.pixels = run.last - run.first;
        call.channels = source_.channels;
        kernels_.pointwise(call);
      });
}

std::vector<std::byte> table_of_bytes(const PadStep& step, const std::vector<float>& scale,
                                      const std::vector<float>& shift, const Target& target,
                                      const Kernels* elements, const Kernels& floats,
                                      Dtype stored) {
  const auto channels = static_cast<std::size_t>(step.source.channels);
  std::vector<float> numbers((kBytes + 1) * channels);
  for (std::size_t i = 0; i < kBytes * channels; ++i) {
    numbers[i] = static_cast<float>(i / channels);
  }
  PointwiseCall call;
  call.source = call.out = numbers.data();
  call.source_stride = call.out_stride = static_cast<std::ptrdiff_t>(channels);
  call.scale = data_or_null(scale);
  call.shift = data_or_null(shift);
  call.relu = target.relu;
  call.pixels = kBytes;
  call.channels = step.source.channels;
  floats.pointwise(call);
  std::fill_n(numbers.begin() + kBytes * channels, channels, activated(step.value, target));
  if (elements == nullptr) return from_floats(numbers, stored);
  std::vector<std::byte> table(numbers.size());
  elements->quantize(numbers.data(), 1, table.data(), static_cast<int>(numbers.size()),
                     target.view.scale, target.view.zero, target.relu);
  return table;
}

Tiling BytesOp::tile(int batch, int threads) const {
  return tile_pixels(target_.view, batch, threads);
}

void BytesOp::run(const Bindings& bindings, const Tiling& tiling, int task, Scratch&) const {
  const View& target = target_.view;
  const Strides& strides = bindings.strides[source_.buffer];
  const std::ptrdiff_t stride = bindings.strides[target.buffer].column;
  const auto bytes = stride * static_cast<std::ptrdiff_t>(target.element_size);
  const std::size_t pixel = source_.channels * target.element_size;
  const std::byte* border = table_.data() + kBytes * pixel;
  each_run(target, source_, padding_, pixels_of(target, bindings, tiling, task),
           [&](const Run& run) {
             std::byte* out = bindings.at(target, run.at.n, run.at.y, run.at.x);
             fill(out, bytes, run.first, border, pixel);
             fill(out + run.last * bytes, bytes, run.pixels - run.last, border, pixel);
             if (run.first == run.last) return;
             const std::byte* source = bindings.at(source_, run.at.n, run.at.y - padding_.vertical,
                                                   run.at.x + run.first - padding_.horizontal);
             const auto look = target.element_size == 4   ? look_up_all<std::uint32_t>
                               : target.element_size == 2 ? look_up_all<std::uint16_t>
                                                          : look_up_all<std::uint8_t>;
             look(source, strides, out + run.first * bytes, stride, run.last - run.first,
                  source_.channels, table_.data());
           });
}

}  // namespace ifast::cpu
