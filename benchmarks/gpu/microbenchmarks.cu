// Microbenchmarks of an sm_90a device: what one instruction, copy, hand-over or launch costs there.
// `microbenchmarks [NAME ...]` runs those, by default all; `--list` names them. Results are JSON
// lines on stdout, each as soon as it is there. Clocks stay as they are.
//
// Exit status: 0 all ran, 1 some failed, 2 no such name, 3 the device is lost to this process (what
// has not begun needs a new one), 4 no device that can run this.
#include <cuda_runtime.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "micro/clock.cuh"
#include "micro/cluster.cuh"
#include "micro/copy.cuh"
#include "micro/copy_check.cuh"
#include "micro/harness.h"
#include "micro/hop.cuh"
#include "micro/launch.cuh"
#include "micro/load.cuh"
#include "micro/matrix.cuh"
#include "micro/memory.cuh"
#include "micro/timer.cuh"
#include "micro/wgmma.cuh"

namespace ifast::micro {
namespace {

struct Benchmark {
  const char* name;
  void (*run)(const Device&);
};

// Those that tell most about least proven things come last: a lost device costs a new process.
constexpr Benchmark kBenchmarks[] = {
    {"clock", clock_rate},    {"timer", timer},
    {"hmma", hmma},           {"load", load},
    {"ldsm", ldsm},           {"latency", latency},
    {"bandwidth", bandwidth}, {"hop", hop},
    {"launch", launch},       {"cluster", cluster},
    {"wgmma", wgmma},         {"wgmma_check", wgmma_check},
    {"copy", copy},           {"copy_check", copy_check},
};

enum Exit { kDone = 0, kSomeFailed = 1, kUsage = 2, kLost = 3, kNoDevice = 4 };

const Benchmark* find(const char* name) {
  for (const Benchmark& benchmark : kBenchmarks) {
    if (std::strcmp(benchmark.name, name) == 0) return &benchmark;
  }
  return nullptr;
}

void print_error(const char* benchmark, const char* message) {
  print_line("{\"benchmark\": " + quoted(benchmark) + ", \"error\": " + quoted(message) + "}");
}

Device find_device() {
  Device device{};
  MICRO_CHECK(cudaSetDevice(0));
  MICRO_CHECK(cudaGetDeviceProperties(&device.properties, 0));
  const cudaDeviceProp& p = device.properties;
  if (p.major != 9 || p.minor != 0) {
    throw Failure(std::string(p.name) + " is sm_" + std::to_string(p.major) +
                  std::to_string(p.minor) + ", this program is for sm_90a");
  }
  int driver = 0, runtime = 0;
  MICRO_CHECK(cudaDriverGetVersion(&driver));
  MICRO_CHECK(cudaRuntimeGetVersion(&runtime));
  print_line("{\"device\": " +
             json({{"name", std::string(p.name)},
                   {"multiprocessors", p.multiProcessorCount},
                   {"l2_bytes", p.l2CacheSize},
                   {"memory_bytes", static_cast<long long>(p.totalGlobalMem)},
                   {"shared_bytes_per_block", static_cast<long long>(p.sharedMemPerBlockOptin)},
                   {"driver", driver},
                   {"runtime", runtime}}) +
             "}");
  return device;
}

// Whether the device can still be used.
bool run(const Benchmark& benchmark, const Device& device, bool& held) {
  const auto begin = std::chrono::steady_clock::now();
  print_line("{\"begin\": " + quoted(benchmark.name) + "}");
  try {
    benchmark.run(device);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    print_line("{\"end\": " + quoted(benchmark.name) + ", \"seconds\": " + json(taken.count()) +
               "}");
    return true;
  } catch (const std::exception& error) {
    print_error(benchmark.name, error.what());
    held = false;
  }
  cudaGetLastError();
  return cudaDeviceSynchronize() == cudaSuccess;
}

int main(const std::vector<const Benchmark*>& chosen) {
  Device device{};
  try {
    device = find_device();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return kNoDevice;
  }
  bool held = true;
  for (const Benchmark* benchmark : chosen) {
    if (!run(*benchmark, device, held)) return kLost;
  }
  return held ? kDone : kSomeFailed;
}

}  // namespace
}  // namespace ifast::micro

int main(int count, char** words) {
  using namespace ifast::micro;
  if (count == 2 && std::strcmp(words[1], "--list") == 0) {
    for (const Benchmark& benchmark : kBenchmarks) std::printf("%s\n", benchmark.name);
    return kDone;
  }
  std::vector<const Benchmark*> chosen;
  for (int i = 1; i < count; ++i) {
    chosen.push_back(find(words[i]));
    if (chosen.back() == nullptr) {
      std::fprintf(stderr, "no benchmark is called %s\n", words[i]);
      return kUsage;
    }
  }
  if (chosen.empty()) {
    for (const Benchmark& benchmark : kBenchmarks) chosen.push_back(&benchmark);
  }
  return main(chosen);
}
