#include "cuda/launch/pack.h"

#include <algorithm>
#include <cstring>

#include "cuda/launch/steps.h"

namespace ifast::cuda {
namespace {

// What a warp multiplies at once. Less of it is not worth a tile of its own.
constexpr int kColumnGranule = 16;

constexpr std::uint32_t kSign = 1u << 31;

}  // namespace

Depth depth_of(int taps, int in_channels, std::size_t element_size) {
  const int length = kVectorBytes / static_cast<int>(element_size);
  const int tap_vectors = divide_up(in_channels, length);
  return {tap_vectors, divide_up(taps * tap_vectors, kChunkVectors)};
}

int weight_columns(int out_channels) {
  return divide_up(out_channels, kColumnGranule) * kColumnGranule;
}

void pack_weights(std::span<const std::byte> weights, int out_channels, int taps, int in_channels,
                  std::size_t element_size, std::vector<std::byte>& to) {
  const Depth depth = depth_of(taps, in_channels, element_size);
  const std::size_t begin = to.size();
  const std::size_t chunk_bytes =
      static_cast<std::size_t>(weight_columns(out_channels)) * kChunkBytes;
  to.resize(begin + depth.chunks * chunk_bytes);
  const std::size_t tap_bytes = in_channels * element_size;
  for (int o = 0; o < out_channels; ++o) {
    for (int t = 0; t < taps; ++t) {
      const auto from = weights.subspan((static_cast<std::size_t>(o) * taps + t) * tap_bytes);
      for (int v = 0; v < depth.tap_vectors; ++v) {
        const int vector = t * depth.tap_vectors + v;
        const std::size_t at = static_cast<std::size_t>(v) * kVectorBytes;
        const auto piece = from.subspan(at, std::min<std::size_t>(kVectorBytes, tap_bytes - at));
        std::ranges::copy(piece, to.begin() + begin + vector / kChunkVectors * chunk_bytes +
                                     swizzle(o, vector % kChunkVectors));
      }
    }
  }
}

void pack_depthwise(std::span<const std::byte> weights, int taps, int channels,
                    std::size_t element_size, std::vector<std::byte>& to) {
  const std::size_t tap_bytes = channels * element_size;
  const std::size_t padded = (tap_bytes + kVectorBytes - 1) / kVectorBytes * kVectorBytes;
  const std::size_t begin = to.size();
  to.resize(begin + taps * padded);
  for (int t = 0; t < taps; ++t) {
    std::ranges::copy(weights.subspan(t * tap_bytes, tap_bytes), to.begin() + begin + t * padded);
  }
}

void prepare_weights(std::span<std::byte> weights, Precision precision) {
  if (precision != Precision::kFp32 && precision != Precision::kTf32) return;
  constexpr std::uint32_t kInfinity = 0x7f800000, kQuiet = 0x7fc00000;
  for (std::size_t at = 0; at + sizeof(std::uint32_t) <= weights.size();
       at += sizeof(std::uint32_t)) {
    std::uint32_t bits;
    std::memcpy(&bits, weights.data() + at, sizeof bits);
    if ((bits & ~kSign) > kInfinity) bits = (bits & kSign) | kQuiet;
    if (precision == Precision::kTf32) bits = (bits + (1u << 12)) & ~0x1fffu;
    std::memcpy(weights.data() + at, &bits, sizeof bits);
  }
}

}  // namespace ifast::cuda
