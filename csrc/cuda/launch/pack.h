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

// The columns that packed weights have for so many output channels.
int weight_columns(int out_channels);

// Appends [C_out, T, C_in] weights as tiles of every shape read them, [chunk][weight_columns]
// [kChunkBytes] swizzled, with zeros for what is not there.
void pack_weights(std::span<const std::byte> weights, int out_channels, int taps, int in_channels,
                  std::size_t element_size, std::vector<std::byte>& to);

// Appends a depthwise convolution's [T, C] weights, each tap's rounded up to vectors with zeros.
void pack_depthwise(std::span<const std::byte> weights, int taps, int channels,
                    std::size_t element_size, std::vector<std::byte>& to);

enum class Precision { kFp32, kTf32, kFp16, kBf16 };

// What products of a precision want of packed weights: in tf32 rounded to TF32, ties away from
// zero; in both precisions of float32 NaNs that survive such a rounding. Others stay as they are.
void prepare_weights(std::span<std::byte> weights, Precision precision);

}  // namespace ifast::cuda
