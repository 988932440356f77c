#pragma once

#include "micro/device.cuh"
#include "micro/wgmma.cuh"

// The multiprocessors' clock, as cycles of clock64 over nanoseconds of globaltimer: with one block
// that waits, and with all tensor cores busy, where the power limit may lower it.
namespace ifast::micro {

__global__ void spin(long long nanoseconds, Span* span) {
  const Stopwatch watch;
  while (watch.lap().nanoseconds < nanoseconds) {
  }
  *span = watch.lap();
}

inline void clock_rate(const Device& device) {
  const auto gigahertz = [](const Span& span) {
    return static_cast<double>(span.cycles) / static_cast<double>(span.nanoseconds);
  };
  Buffer<Span> spans(device.multiprocessors());
  const auto idle = repeat([&] {
    spin<<<1, 1>>>(3'000'000, spans.get());
    finish("spin");
    return gigahertz(spans.read()[0]);
  });
  report("clock", {{"load", "one thread"}}, "GHz", idle);
  constexpr int kN = 256, kRounds = 5000;
  const int shared = wgmma_shared_bytes(2, kN);
  Buffer<float> sink(static_cast<std::size_t>(device.multiprocessors()) * 2 * kGroupThreads);
  allow_shared(wgmma_rate<kN, false>, shared);
  const auto busy = repeat([&] {
    wgmma_rate<kN, false>
        <<<device.multiprocessors(), 2 * kGroupThreads, shared>>>(kRounds, spans.get(), sink.get());
    finish("wgmma_rate");
    return gigahertz(spans.read()[0]);
  });
  report("clock", {{"load", "wgmma"}}, "GHz", busy);
}

}  // namespace ifast::micro
