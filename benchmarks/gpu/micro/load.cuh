#pragma once

#include "micro/matrix.cuh"
#include "micro/wgmma.cuh"

// The clock and the rate with all tensor cores busy on random data for so long that the power limit
// has its say.
namespace ifast::micro {

// `launch(rounds)` starts a kernel that fills `spans`; `operations` are those of a round on the
// whole device.
template <class Launch>
void loaded_rows(const char* load, double operations, const Buffer<Span>& spans, Launch launch) {
  constexpr double kSampleNanoseconds = 40e6;
  constexpr long long kWarmUpNanoseconds = 300'000'000;
  int rounds = 1000;
  const auto run = [&] {
    launch(rounds);
    finish(load);
    return spans.read()[0];
  };
  for (long long busy = 0; busy < kWarmUpNanoseconds;) {
    const Span span = run();
    busy += span.nanoseconds;
    // The clock changes meanwhile, so that each launch tells better how long the next will take.
    rounds =
        static_cast<int>(rounds * (kSampleNanoseconds / static_cast<double>(span.nanoseconds)));
  }
  std::vector<double> gigahertz, teraflops;
  for (int i = 0; i < kRepeats; ++i) {
    const Span span = run();
    const auto nanoseconds = static_cast<double>(span.nanoseconds);
    gigahertz.push_back(static_cast<double>(span.cycles) / nanoseconds);
    teraflops.push_back(1e-3 * operations * rounds / nanoseconds);
  }
  report("clock", {{"load", load}}, "GHz", gigahertz);
  report("matrix_rate", {{"load", load}}, "TFLOP/s", teraflops);
}

inline void load(const Device& device) {
  const int blocks = device.multiprocessors();
  Buffer<Span> spans(blocks);
  {
    constexpr int kChains = 4, kWarps = 16;
    Buffer<float> sink(static_cast<std::size_t>(blocks) * kWarps * 32);
    loaded_rows("hmma", 2.0 * 16 * 8 * 16 * kProducts * kWarps * blocks, spans, [&](int rounds) {
      hmma_rate<kChains><<<blocks, kWarps * 32>>>(rounds, spans.get(), sink.get());
    });
  }
  {
    constexpr int kN = 256, kGroups = 2, kThreads = kGroups * kGroupThreads;
    const int shared = wgmma_shared_bytes(kGroups, kN);
    Buffer<float> sink(static_cast<std::size_t>(blocks) * kThreads);
    allow_shared(wgmma_rate<kN, false>, shared);
    loaded_rows("wgmma", 2.0 * 64 * kN * 16 * kBatch * kGroups * blocks, spans, [&](int rounds) {
      wgmma_rate<kN, false><<<blocks, kThreads, shared>>>(rounds, spans.get(), sink.get());
    });
  }
}

}  // namespace ifast::micro
