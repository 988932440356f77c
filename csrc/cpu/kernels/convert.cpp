#include "cpu/kernels/convert.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include "cpu/kernels/portable/vec.h"

namespace ifast::cpu {
namespace {

template <class T>
std::vector<float> widen_all(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    T x;  // the bytes need not be aligned
    std::memcpy(&x, bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = widen(x);
  }
  return values;
}

template <class T>
std::vector<std::byte> narrow_all(std::span<const float> values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    T x;
    narrow(values[i], x);
    std::memcpy(bytes.data() + i * sizeof(T), &x, sizeof(T));
  }
  return bytes;
}

}  // namespace

std::vector<float> to_floats(std::span<const std::byte> bytes, Dtype dtype) {
  if (dtype == Dtype::kFloat16) return widen_all<Half>(bytes);
  if (dtype == Dtype::kBFloat16) return widen_all<BFloat16>(bytes);
  if (dtype == Dtype::kInt8) return widen_all<std::int8_t>(bytes);
  return widen_all<float>(bytes);
}

std::vector<std::byte> from_floats(std::span<const float> values, Dtype dtype) {
  if (dtype == Dtype::kFloat16) return narrow_all<Half>(values);
  if (dtype == Dtype::kBFloat16) return narrow_all<BFloat16>(values);
  return narrow_all<float>(values);
}

std::vector<std::int32_t> to_integers(std::span<const std::byte> bytes) {
  std::vector<std::int32_t> values(bytes.size() / sizeof(std::int32_t));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(std::int32_t));
  return values;
}

float bfloat16_pair(float first, float second) {
  BFloat16 lower, upper;
  narrow(first, lower);
  narrow(second, upper);
  return std::bit_cast<float>(lower.bits | std::uint32_t{upper.bits} << 16);
}

float bfloat16_of_pair(float pair, int half) {
  const auto bits = std::bit_cast<std::uint32_t>(pair);
  return std::bit_cast<float>(half == 0 ? bits << 16 : bits & 0xffff0000u);
}

float integer_unit(const float (&values)[4], int channels) {
  const int width = 32 / channels;
  std::uint32_t bits = 0;
  for (int i = 0; i < channels; ++i) {
    const auto value = static_cast<std::uint32_t>(static_cast<std::int32_t>(values[i]));
    bits |= (value & 0xffffffffu >> (32 - width)) << width * i;
  }
  return std::bit_cast<float>(bits);
}

float zero_unit(int element, int channels) {
  const auto bits = static_cast<std::uint32_t>(element);
  return std::bit_cast<float>(channels == 4 ? bits * 0x01010101u : bits * 0x00010001u);
}

void gather_pairs(const void* source, std::ptrdiff_t stride, float* out, int n) {
  auto* halves = reinterpret_cast<std::byte*>(out);
  const auto* from = static_cast<const std::byte*>(source);
  if (stride == 1) {
    std::memcpy(halves, from, n * sizeof(BFloat16));
  } else {
    for (int i = 0; i < n; ++i) {
      std::memcpy(halves + i * sizeof(BFloat16),
                  from + i * stride * static_cast<std::ptrdiff_t>(sizeof(BFloat16)),
                  sizeof(BFloat16));
    }
  }
  if (n % 2 != 0) std::memset(halves + n * sizeof(BFloat16), 0, sizeof(BFloat16));
}

}  // namespace ifast::cpu
