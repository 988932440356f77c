#pragma once

#include "cuda/launch/steps.h"
#include "ptx/memory.cuh"
#include "ptx/number.cuh"

namespace ifast::cuda {

// A view of one call: its memory and its strides in elements.
template <class Format>
struct Tensor {
  using Element = typename Format::Element;
  static constexpr int kLength = kVectorBytes / static_cast<int>(sizeof(Element));

  Element* data;
  std::int64_t image, row, column, channel;

  IFAST_DEVICE Tensor(const Bindings& bindings, const View& view) {
    auto* base = reinterpret_cast<Element*>(bindings.bases[view.base]);
    if (view.base == kInputBase) {
      image = bindings.input_strides[0];
      row = bindings.input_strides[1];
      column = bindings.input_strides[2];
      channel = bindings.input_strides[3];
      data = base + view.start * channel;
    } else {
      channel = 1;
      column = view.pitch;
      row = column * view.width;
      image = row * view.height;
      data = base + bindings.batch * view.offset + view.start;
    }
  }

  IFAST_DEVICE Element* at(int n, int y, int x) const {
    return data + n * image + y * row + x * column;
  }

  // Bytes at once, up to a vector, that every pixel's channels can be read with.
  IFAST_DEVICE int access_bytes() const {
    if (channel != 1) return sizeof(Element);
    const auto all = reinterpret_cast<std::uint64_t>(data) | kVectorBytes |
                     static_cast<std::uint64_t>((image | row | column) * sizeof(Element));
    return static_cast<int>(all & (~all + 1));
  }
};

// Eight or four channels as floats.
template <class Format>
struct Values {
  static constexpr int kLength = Tensor<Format>::kLength;
  float value[kLength];

  IFAST_DEVICE static Values unpack(const ptx::Vector& vector) {
    Values v;
    for (int i = 0; i < kLength; ++i) {
      if constexpr (kLength == 4) {
        v.value[i] = ptx::float_from_bits(vector.word[i]);
      } else {
        v.value[i] = Format::load(static_cast<std::uint16_t>(vector.word[i / 2] >> i % 2 * 16));
      }
    }
    return v;
  }

  // The first `count` of the channels from `channel` on; the others are zero.
  IFAST_DEVICE static Values load(const Tensor<Format>& tensor,
                                  const typename Format::Element* pixel, int channel, int count,
                                  bool whole) {
    if (whole && count == kLength) return unpack(ptx::load_global_vector(pixel + channel));
    Values v;
    for (int i = 0; i < kLength; ++i) {
      v.value[i] =
          i < count ? Format::load(ptx::load_global(pixel + (channel + i) * tensor.channel)) : 0.0f;
    }
    return v;
  }

  IFAST_DEVICE static Values load(const float* from, int count) {
    Values v;
    for (int i = 0; i < kLength; ++i) v.value[i] = i < count ? ptx::load_global(from + i) : 0.0f;
    return v;
  }

  // A NaN stays one.
  IFAST_DEVICE void relu() {
    for (int i = 0; i < kLength; ++i) value[i] = value[i] < 0.0f ? 0.0f : value[i];
  }

  // map(value) of each, side by side.
  template <class Map>
  IFAST_DEVICE void each(const Map& map) {
    IFAST_UNROLL
    for (int i = 0; i < kLength; ++i) value[i] = map(value[i]);
  }

  // The same one after the other, for a map of much code. Registers have no index, so the values
  // pass by.
  template <class Map>
  IFAST_DEVICE void each_in_turn(const Map& map) {
    IFAST_ROLL
    for (int i = 0; i < kLength; ++i) {
      const float first = map(value[0]);
      IFAST_UNROLL
      for (int k = 1; k < kLength; ++k) value[k - 1] = value[k];
      value[kLength - 1] = first;
    }
  }

  IFAST_DEVICE ptx::Vector pack() const {
    ptx::Vector vector;
    for (int w = 0; w < 4; ++w) {
      if constexpr (kLength == 4) {
        vector.word[w] = ptx::bits_from_float(value[w]);
      } else {
        vector.word[w] = Format::store(value[2 * w]) |
                         static_cast<std::uint32_t>(Format::store(value[2 * w + 1])) << 16;
      }
    }
    return vector;
  }

  IFAST_DEVICE void store(typename Format::Element* to, int count, bool whole) const {
    if (whole && count == kLength) {
      ptx::store_global_vector(to, pack());
      return;
    }
    for (int i = 0; i < kLength; ++i) {
      if (i < count) ptx::store_global(to + i, Format::store(value[i]));
    }
  }
};

IFAST_DEVICE bool is_vector_aligned(const void* address) {
  return reinterpret_cast<std::uint64_t>(address) % kVectorBytes == 0;
}

template <class T>
IFAST_DEVICE const T* constant(const std::byte* constants, std::int64_t offset) {
  return offset == kNone ? nullptr : reinterpret_cast<const T*>(constants + offset);
}

}  // namespace ifast::cuda
