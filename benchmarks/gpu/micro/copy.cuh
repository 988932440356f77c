#pragma once

#include "micro/device.cuh"
#include "micro/ptx_sm90.cuh"
#include "micro/tensor_map.h"
#include "ptx/async_copy.cuh"

// Copies from L2 to shared memory: by the copy engine (tiled, im2col, plain bytes) and by cp.async.
namespace ifast::micro {

enum class Copy { kTiled, kIm2col, kBulk };

inline constexpr int kDeepest = 4;  // copies in flight
inline constexpr Image kImage{8, 17, 17, 192};
inline constexpr Window kWindow3x3{3, 3, 1, 1, 1};

// Where box number `i` comes from: a few places, so that all of them stay in L2.
template <Copy kCopy>
IFAST_DEVICE void start_copy(std::uint32_t target, const CUtensorMap* map,
                             const unsigned char* data, int bytes, int i, std::uint32_t barrier) {
  constexpr int kImagePixels = kImage.height * kImage.width;
  const int channel = i % 2 * kBoxChannels, image = i / 2 % 4;
  barrier_expect(barrier, bytes);
  if constexpr (kCopy == Copy::kTiled) {
    copy_tile(target, map, channel, image * kImagePixels, barrier);
  } else if constexpr (kCopy == Copy::kIm2col) {
    const auto tap = static_cast<unsigned short>(i % 2);
    copy_im2col(target, map, channel, -kWindow3x3.pad_x, -kWindow3x3.pad_y, image, tap, tap,
                barrier);
  } else {
    copy_bulk(target, data + image * kImagePixels * kImage.channels * 2, bytes, barrier);
  }
}

IFAST_DEVICE void wait_for_copy(std::uint32_t barrier, unsigned parity) {
  if (barrier_try_wait(barrier, parity)) return;
  const Deadline deadline;
  while (!barrier_try_wait(barrier, parity)) deadline.check();
}

// Barriers for kDeepest stages and one more; of one thread.
class Barriers {
 public:
  IFAST_DEVICE Barriers() {
    __shared__ alignas(8) std::uint64_t memory[kDeepest + 1];
    first_ = static_cast<std::uint32_t>(__cvta_generic_to_shared(memory));
    for (int i = 0; i <= kDeepest; ++i) barrier_init(operator[](i), 1);
    fence_async_proxy();
  }
  IFAST_DEVICE std::uint32_t operator[](int stage) const { return first_ + stage * 8; }

 private:
  std::uint32_t first_;
};

struct CopySpans {
  Span first, all;
};

// One thread keeps kDepth boxes in flight. The first box, which finds no descriptor in any cache,
// is timed by itself.
template <Copy kCopy, int kDepth>
__global__ void copy_boxes(const __grid_constant__ CUtensorMap map, const unsigned char* data,
                           int bytes, int rounds, CopySpans* spans) {
  if (threadIdx.x != 0) return;
  const std::uint32_t base = (ptx::shared_memory() + 1023) / 1024 * 1024;
  const Barriers barriers;
  const Stopwatch first;
  start_copy<kCopy>(base, &map, data, bytes, 0, barriers[kDeepest]);
  wait_for_copy(barriers[kDeepest], 0);
  spans[blockIdx.x].first = first.lap();
  const Stopwatch all;
  _Pragma("unroll 1") for (int i = 0; i < rounds + kDepth; ++i) {
    const int stage = i % kDepth;
    if (i >= kDepth) wait_for_copy(barriers[stage], (i / kDepth - 1) % 2);
    if (i < rounds) {
      start_copy<kCopy>(base + stage * bytes, &map, data, bytes, i, barriers[stage]);
    }
  }
  spans[blockIdx.x].all = all.lap();
}

inline constexpr int kCopyThreads = 128;

// As many bytes by cp.async, 16 to a thread at a time; a round ends when all threads have theirs.
__global__ void __launch_bounds__(kCopyThreads)
    copy_by_threads(const unsigned char* data, int bytes, int rounds, CopySpans* spans) {
  const std::uint32_t base = ptx::shared_memory();
  const Stopwatch all;
  for (int round = 0; round < rounds; ++round) {
    const unsigned char* from = data + round % 4 * bytes;
    for (int i = threadIdx.x * 16; i < bytes; i += kCopyThreads * 16) {
      ptx::cp_async<16>(base + i, from + i, 16);
    }
    ptx::cp_async_commit();
    ptx::cp_async_wait<0>();
    __syncthreads();
  }
  if (threadIdx.x == 0) spans[blockIdx.x].all = all.lap();
}

class CopyBench {
 public:
  explicit CopyBench(const Device& device)
      : device_(device),
        data_(static_cast<std::size_t>(kImage.pixels()) * kImage.channels * 2),
        spans_(device.multiprocessors()) {}

  template <Copy kCopy>
  void rows(const char* name) {
    for (const int pixels : {8, 64, 128}) {
      for (const int blocks : {1, device_.multiprocessors()}) {
        row<kCopy, 1>(name, pixels, blocks);
        row<kCopy, kDeepest>(name, pixels, blocks);
      }
    }
  }

  void thread_rows() {
    constexpr int kRounds = 200;
    for (const int pixels : {8, 64, 128}) {
      const int bytes = pixels * kPixelBytes;
      const auto cycles = repeat([&] {
        copy_by_threads<<<1, kCopyThreads, bytes>>>(data_.get(), bytes, kRounds, spans_.get());
        finish("copy_by_threads");
        return static_cast<double>(spans_.read()[0].all.cycles) / kRounds;
      });
      report("copy", {{"by", "cp.async"}, {"bytes", bytes}, {"blocks", 1}, {"depth", 1}},
             "cycles/copy", cycles);
    }
  }

 private:
  template <Copy kCopy, int kDepth>
  void row(const char* name, int pixels, int blocks) {
    constexpr int kRounds = 200;
    const int bytes = pixels * kPixelBytes, shared = kDepth * bytes + 1024;
    CUtensorMap map{};
    if (kCopy == Copy::kTiled) map = tiled_map(data_.get(), kImage, pixels);
    if (kCopy == Copy::kIm2col) map = im2col_map(data_.get(), kImage, kWindow3x3, pixels);
    const auto kernel = copy_boxes<kCopy, kDepth>;
    MICRO_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
    std::vector<double> first;
    const auto cycles = repeat([&] {
      kernel<<<blocks, 32, shared>>>(map, data_.get(), bytes, kRounds, spans_.get());
      finish("copy_boxes");
      const CopySpans taken = spans_.read()[0];
      first.push_back(static_cast<double>(taken.first.cycles));
      return static_cast<double>(taken.all.cycles) / kRounds;
    });
    report("copy", {{"by", name}, {"bytes", bytes}, {"blocks", blocks}, {"depth", kDepth}},
           "cycles/copy", cycles);
    if (kDepth == 1) {
      report("copy_first", {{"by", name}, {"bytes", bytes}, {"blocks", blocks}}, "cycles", first);
    }
  }

  const Device& device_;
  Buffer<unsigned char> data_;
  Buffer<CopySpans> spans_;
};

inline void copy(const Device& device) {
  CopyBench bench(device);
  bench.thread_rows();
  bench.rows<Copy::kBulk>("bulk");
  bench.rows<Copy::kTiled>("tiled");
  bench.rows<Copy::kIm2col>("im2col");
}

}  // namespace ifast::micro
