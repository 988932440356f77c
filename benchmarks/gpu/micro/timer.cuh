#pragma once

#include <map>

#include "micro/device.cuh"

// The step of %globaltimer, in which traces are written: PTX ISA leaves it to the device.
namespace ifast::micro {

__global__ void read_timer(long long* times, int reads, Span* span) {
  const Stopwatch watch;
  _Pragma("unroll 1") for (int i = 0; i < reads; ++i) times[i] = global_nanoseconds();
  *span = watch.lap();
}

// The lowest of the first row is the smallest difference between two reads that differ. The other
// rows are how often the most frequent differences come among those.
inline void timer(const Device&) {
  constexpr int kReads = 100'000;
  constexpr std::size_t kMostFrequent = 8;
  Buffer<long long> times(kReads);
  Buffer<Span> span(1);
  read_timer<<<1, 1>>>(times.get(), kReads, span.get());
  finish("read_timer");
  const std::vector<long long> read = times.read();
  std::vector<double> steps;
  std::map<long long, int> counts;
  for (int i = 1; i < kReads; ++i) {
    const long long step = read[i] - read[i - 1];
    if (step < 0) throw Failure("globaltimer went back by " + std::to_string(-step) + " ns");
    if (step == 0) continue;
    steps.push_back(static_cast<double>(step));
    ++counts[step];
  }
  if (steps.empty()) throw Failure("globaltimer stood still");
  report("globaltimer", {{"reads", kReads}}, "ns/step", steps);
  report("globaltimer", {{"reads", kReads}}, "cycles/read",
         {static_cast<double>(span.read()[0].cycles) / kReads});
  std::vector<std::pair<int, long long>> frequent;
  for (const auto& [step, count] : counts) frequent.emplace_back(count, step);
  std::sort(frequent.rbegin(), frequent.rend());
  frequent.resize(std::min(frequent.size(), kMostFrequent));
  for (const auto& [count, step] : frequent) {
    report("globaltimer_step", {{"ns", step}}, "share of steps",
           {static_cast<double>(count) / static_cast<double>(steps.size())});
  }
}

}  // namespace ifast::micro
