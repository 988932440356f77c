#include "cuda/launch/pack.h"

#include <algorithm>

#include "cuda/launch/steps.h"

namespace ifast::cuda {

Depth depth_of(int taps, int in_channels, std::size_t element_size) {
  const int length = kVectorBytes / static_cast<int>(element_size);
  const int tap_vectors = divide_up(in_channels, length);
  return {tap_vectors, divide_up(taps * tap_vectors, kChunkVectors)};
}

void pack_weights(std::span<const std::byte> weights, int out_channels, int taps, int in_channels,
                  std::size_t element_size, int tile_columns, std::vector<std::byte>& to) {
  const Depth depth = depth_of(taps, in_channels, element_size);
  const std::size_t begin = to.size();
  const std::size_t chunk_bytes = static_cast<std::size_t>(tile_columns) * kChunkBytes;
  const int tiles = divide_up(out_channels, tile_columns);
  to.resize(begin + tiles * depth.chunks * chunk_bytes);
  const std::size_t tap_bytes = in_channels * element_size;
  for (int o = 0; o < out_channels; ++o) {
    for (int t = 0; t < taps; ++t) {
      const auto from = weights.subspan((static_cast<std::size_t>(o) * taps + t) * tap_bytes);
      for (int v = 0; v < depth.tap_vectors; ++v) {
        const int vector = t * depth.tap_vectors + v;
        const std::size_t chunk =
            static_cast<std::size_t>(o / tile_columns) * depth.chunks + vector / kChunkVectors;
        const std::size_t at = static_cast<std::size_t>(v) * kVectorBytes;
        const auto piece = from.subspan(at, std::min<std::size_t>(kVectorBytes, tap_bytes - at));
        std::ranges::copy(piece, to.begin() + begin + chunk * chunk_bytes +
                                     swizzle(o % tile_columns, vector % kChunkVectors));
      }
    }
  }
}

}  // namespace ifast::cuda
