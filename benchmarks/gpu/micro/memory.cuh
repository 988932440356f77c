#pragma once

#include "micro/device.cuh"
#include "ptx/memory.cuh"

// Bandwidth of L2 and of the device's memory, and latency by a chain of pointers.
namespace ifast::micro {

inline constexpr int kReaders = 512, kInFlight = 4;
inline constexpr std::size_t kChunk =
    kReaders * 16;  // bytes that a block reads with one instruction

// Block b reads chunks b, b + grid, ... of `chunks`, round and round.
__global__ void __launch_bounds__(kReaders)
    read_chunks(const unsigned char* data, unsigned chunks, int rounds, unsigned* sink) {
  const unsigned step = gridDim.x % chunks;
  unsigned chunk = blockIdx.x % chunks, mixed = 0;
  data += threadIdx.x * 16;
  _Pragma("unroll 1") for (int round = 0; round < rounds; ++round) {
    ptx::Vector vectors[kInFlight];
    IFAST_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      std::uint32_t (&v)[4] = vectors[i].word;
      asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                   : "l"(data + chunk * kChunk));
      chunk += step;
      if (chunk >= chunks) chunk -= chunks;
    }
    IFAST_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      mixed ^= vectors[i].word[0] ^ vectors[i].word[1] ^ vectors[i].word[2] ^ vectors[i].word[3];
    }
  }
  sink[blockIdx.x * kReaders + threadIdx.x] = mixed;
}

struct alignas(128) Line {
  const Line* next;
};

// One cycle through all lines, `stride` apart: `count` is a power of two, `stride` odd.
__global__ void link(Line* lines, unsigned count, unsigned stride) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    lines[i].next = lines + ((i + stride) & (count - 1));
  }
}

enum class Cache { kL1, kL2 };

// kL2 passes L1 by.
template <Cache kCache>
IFAST_DEVICE const Line* follow(const Line* line) {
  const Line* next;
  if constexpr (kCache == Cache::kL1) {
    asm volatile("ld.global.u64 %0, [%1];" : "=l"(next) : "l"(line) : "memory");
  } else {
    asm volatile("ld.global.cg.u64 %0, [%1];" : "=l"(next) : "l"(line) : "memory");
  }
  return next;
}

inline constexpr int kHops = 16;  // of one round of the loop

template <Cache kCache>
__global__ void chase(const Line* line, int warm_up, int rounds, Span* span, const Line** sink) {
  for (int i = 0; i < warm_up; ++i) line = follow<kCache>(line);
  measure_block(span, [&] {
    _Pragma("unroll 1") for (int round = 0; round < rounds; ++round) {
      IFAST_UNROLL
      for (int i = 0; i < kHops; ++i) line = follow<kCache>(line);
    }
  });
  *sink = line;
}

template <Cache kCache>
void latency_row(const char* level, std::size_t bytes, unsigned stride, int warm_up, int rounds,
                 bool cached) {
  const auto count = static_cast<unsigned>(bytes / sizeof(Line));
  Buffer<Line> lines(count);
  Buffer<Span> span(1);
  Buffer<const Line*> sink(1);
  link<<<1024, 256>>>(lines.get(), count, stride);
  finish("link");
  if (cached) {
    const auto chunks = static_cast<unsigned>(bytes / kChunk);
    Buffer<unsigned> mixed(static_cast<std::size_t>(chunks) * kReaders);
    read_chunks<<<chunks, kReaders>>>(reinterpret_cast<const unsigned char*>(lines.get()), chunks,
                                      1, mixed.get());
    finish("read_chunks");
  }
  std::vector<double> nanoseconds;
  unsigned start = 0;
  const auto cycles = repeat([&] {
    // Elsewhere each time: what a repeat has fetched must not serve the next.
    start = (start + 64) & (count - 1);
    chase<kCache><<<1, 1>>>(lines.get() + start, warm_up, rounds, span.get(), sink.get());
    finish("chase");
    const Span taken = span.read()[0];
    nanoseconds.push_back(static_cast<double>(taken.nanoseconds) / (rounds * kHops));
    return static_cast<double>(taken.cycles) / (rounds * kHops);
  });
  const auto size = static_cast<long long>(bytes);
  report("latency", {{"level", level}, {"bytes", size}}, "cycles", cycles);
  report("latency", {{"level", level}, {"bytes", size}}, "ns", nanoseconds);
}

inline void latency(const Device&) {
  constexpr std::size_t kKilo = 1 << 10, kMega = 1 << 20;
  latency_row<Cache::kL1>("l1", 16 * kKilo, 1, 256, 64, true);
  latency_row<Cache::kL2>("l2", 4 * kMega, 12345, 0, 128, true);
  latency_row<Cache::kL2>("l2", 16 * kMega, 12345, 0, 128, true);
  // 2048 hops stay in the half that was linked long before, so that L2 has none of it.
  latency_row<Cache::kL2>("hbm", 512 * kMega, 1023, 0, 128, false);
}

inline void bandwidth_row(const Device& device, const char* level, std::size_t bytes,
                          std::size_t total) {
  const int blocks = 4 * device.multiprocessors();
  const auto chunks = static_cast<unsigned>(bytes / kChunk);
  const std::size_t per_round = blocks * kInFlight * kChunk;
  const int rounds = static_cast<int>(std::max<std::size_t>(1, total / per_round));
  Buffer<unsigned char> data(bytes);
  Buffer<unsigned> sink(static_cast<std::size_t>(blocks) * kReaders);
  Event begin, end;
  const auto rate = repeat([&] {
    begin.record(nullptr);
    read_chunks<<<blocks, kReaders>>>(data.get(), chunks, rounds, sink.get());
    end.record(nullptr);
    finish("read_chunks");
    return static_cast<double>(rounds) * per_round / end.microseconds_since(begin) * 1e-3;
  });
  report("bandwidth", {{"level", level}, {"bytes", static_cast<long long>(bytes)}}, "GB/s", rate);
}

inline void copy_row() {
  constexpr std::size_t kBytes = std::size_t{512} << 20;
  Buffer<unsigned char> from(kBytes), to(kBytes);
  Event begin, end;
  const auto rate = repeat([&] {
    begin.record(nullptr);
    MICRO_CHECK(cudaMemcpyAsync(to.get(), from.get(), kBytes, cudaMemcpyDeviceToDevice));
    end.record(nullptr);
    return 2.0 * kBytes / end.microseconds_since(begin) * 1e-3;
  });
  report("bandwidth", {{"level", "hbm copy"}, {"bytes", static_cast<long long>(kBytes)}}, "GB/s",
         rate);
}

inline void bandwidth(const Device& device) {
  constexpr std::size_t kMega = std::size_t{1} << 20;
  for (const std::size_t megabytes : {4, 16, 40}) {
    bandwidth_row(device, "l2", megabytes * kMega, 4096 * kMega);
  }
  bandwidth_row(device, "hbm", 1024 * kMega, 2048 * kMega);
  copy_row();
}

}  // namespace ifast::micro
