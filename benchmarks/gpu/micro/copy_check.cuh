#pragma once

#include "micro/copy.cuh"

// Whether the copy engine brings what a convolution needs: every element of a box, padding and
// strides included, compared with the host's own arithmetic.
namespace ifast::micro {

// Of a box: for im2col the place of the first output pixel's window, and the tap.
struct BoxPlace {
  int channel, column, row, image;
  unsigned short dx, dy;
};

template <Copy kCopy>
__global__ void fetch_box(const __grid_constant__ CUtensorMap map, BoxPlace place, int bytes,
                          unsigned* result) {
  const std::uint32_t base = (ptx::shared_memory() + 1023) / 1024 * 1024;
  if (threadIdx.x == 0) {
    const Barriers barriers;
    barrier_expect(barriers[0], bytes);
    if constexpr (kCopy == Copy::kTiled) {
      copy_tile(base, &map, place.channel, place.row, barriers[0]);
    } else {
      copy_im2col(base, &map, place.channel, place.column, place.row, place.image, place.dx,
                  place.dy, barriers[0]);
    }
    wait_for_copy(barriers[0], 0);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < bytes / 4; i += blockDim.x) {
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(result[i]) : "r"(base + i * 4) : "memory");
  }
}

// Finite as fp16, and different in any two neighbours.
inline std::uint16_t pattern(std::size_t index) {
  return static_cast<std::uint16_t>(1 + (index * 2654435761u >> 9 & 0x3ffe));
}

class CopyCheck {
 public:
  CopyCheck() : data_(static_cast<std::size_t>(kImage.pixels()) * kImage.channels) {
    std::vector<std::uint16_t> values(data_.bytes() / 2);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = pattern(i);
    data_.write(values);
  }

  void tiled(int pixels, int channel, int row) {
    const CUtensorMap map = tiled_map(data_.get(), kImage, pixels);
    const auto found = fetch<Copy::kTiled>(map, {channel, 0, row, 0, 0, 0}, pixels);
    const int wrong = count_wrong(found, pixels, channel,
                                  [&](int i) { return row + i < kImage.pixels() ? row + i : -1; });
    report("copy_check", {{"by", "tiled"}, {"pixels", pixels}, {"row", row}}, "wrong elements",
           {static_cast<double>(wrong)});
  }

  // From output pixel number `first` on, for the tap `dy`, `dx`.
  void im2col(const Window& window, int pixels, int channel, int first, int dy, int dx) {
    const int width = window.out_width(kImage), height = window.out_height(kImage);
    const auto column = [&](int pixel) { return pixel % width * window.stride - window.pad_x; };
    const auto row = [&](int pixel) {
      return pixel / width % height * window.stride - window.pad_y;
    };
    const auto image = [&](int pixel) { return pixel / width / height; };
    const BoxPlace place{channel,
                         column(first),
                         row(first),
                         image(first),
                         static_cast<unsigned short>(dx),
                         static_cast<unsigned short>(dy)};
    const CUtensorMap map = im2col_map(data_.get(), kImage, window, pixels);
    const auto found = fetch<Copy::kIm2col>(map, place, pixels);
    const int wrong = count_wrong(found, pixels, channel, [&](int i) {
      const int x = column(first + i) + dx, y = row(first + i) + dy, n = image(first + i);
      const bool inside =
          0 <= x && x < kImage.width && 0 <= y && y < kImage.height && n < kImage.count;
      return inside ? (n * kImage.height + y) * kImage.width + x : -1;
    });
    const std::string shape = std::to_string(window.height) + "x" + std::to_string(window.width) +
                              " stride " + std::to_string(window.stride);
    report("copy_check",
           {{"by", "im2col"},
            {"window", shape},
            {"pixels", pixels},
            {"first", first},
            {"dy", dy},
            {"dx", dx}},
           "wrong elements", {static_cast<double>(wrong)});
  }

 private:
  template <Copy kCopy>
  std::vector<unsigned> fetch(const CUtensorMap& map, const BoxPlace& place, int pixels) {
    const int bytes = pixels * kPixelBytes;
    Buffer<unsigned> result(bytes / 4);
    fetch_box<kCopy><<<1, 128, bytes + 1024>>>(map, place, bytes, result.get());
    finish("fetch_box");
    return result.read();
  }

  // `pixel_of(i)`: of the tensor, that belongs at place i of the box; -1 for zeros.
  template <class PixelOf>
  int count_wrong(const std::vector<unsigned>& found, int pixels, int channel, PixelOf pixel_of) {
    int wrong = 0;
    for (int i = 0; i < pixels; ++i) {
      const int pixel = pixel_of(i);
      for (int c = 0; c < kBoxChannels; ++c) {
        const int byte = swizzled_byte(i, c);
        const auto value = static_cast<std::uint16_t>(found[byte / 4] >> byte % 4 * 8);
        const bool outside = pixel < 0 || channel + c >= kImage.channels;
        const std::size_t index = static_cast<std::size_t>(pixel) * kImage.channels + channel + c;
        wrong += value != (outside ? 0 : pattern(index));
      }
    }
    return wrong;
  }

  Buffer<std::uint16_t> data_;
};

inline void copy_check(const Device&) {
  CopyCheck check;
  check.tiled(64, 64, 100);
  // The last box of the matrix: half of its pixels and of its channels are outside.
  check.tiled(64, 160, kImage.pixels() - 32);
  constexpr Window k3x3s2{3, 3, 0, 0, 2}, k1x7{1, 7, 0, 3, 1}, k7x1{7, 1, 3, 0, 1};
  // Boxes that begin in one image and end in the next.
  check.im2col(kWindow3x3, 128, 64, 250, 0, 0);
  check.im2col(kWindow3x3, 128, 0, 250, 1, 2);
  check.im2col(kWindow3x3, 64, 160, 0, 2, 2);
  check.im2col(k1x7, 128, 0, 200, 0, 6);
  check.im2col(k7x1, 128, 0, 200, 6, 0);
  check.im2col(k3x3s2, 128, 64, 40, 2, 1);
  // The last pixels of the last image, and some behind it.
  check.im2col(kWindow3x3, 128, 64, kImage.pixels() - 100, 1, 1);
}

}  // namespace ifast::micro
