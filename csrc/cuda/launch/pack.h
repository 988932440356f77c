#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ifast::cuda {

// K of a convolution in chunks: each tap's channels rounded up to vectors of 16 bytes.
struct Depth {
  int tap_vectors;
  int chunks;
};

Depth depth_of(int taps, int in_channels, std::size_t element_size);

// Appends [C_out, T, C_in] weights as conv_tile reads them, [column tile][chunk][column]
// [kChunkBytes] swizzled, with zeros for what is not there.
void pack_weights(std::span<const std::byte> weights, int out_channels, int taps, int in_channels,
                  std::size_t element_size, int tile_columns, std::vector<std::byte>& to);

}  // namespace ifast::cuda
