#pragma once

#include "micro/device.cuh"

// The multiprocessors' clock, as cycles of clock64 over nanoseconds of globaltimer, with one block
// that waits.
namespace ifast::micro {

__global__ void spin(long long nanoseconds, Span* span) {
  const Stopwatch watch;
  while (watch.lap().nanoseconds < nanoseconds) {
  }
  *span = watch.lap();
}

inline void clock_rate(const Device&) {
  const auto gigahertz = [](const Span& span) {
    return static_cast<double>(span.cycles) / static_cast<double>(span.nanoseconds);
  };
  Buffer<Span> spans(1);
  // A GPU that had nothing to do is slow at first.
  spin<<<1, 1>>>(300'000'000, spans.get());
  finish("spin");
  const auto idle = repeat([&] {
    spin<<<1, 1>>>(3'000'000, spans.get());
    finish("spin");
    return gigahertz(spans.read()[0]);
  });
  report("clock", {{"load", "one thread"}}, "GHz", idle);
}

}  // namespace ifast::micro
