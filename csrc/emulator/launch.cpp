#include "emulator/launch.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "emulator/global_memory.h"
#include "emulator/in_flight.h"
#include "emulator/machine.h"

namespace ifast::emulator {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kMaxCluster = 16;

thread_local Omission omission_of_thread = Omission::kNone;
thread_local bool reversed_of_thread = false;
thread_local Counts counts_of_thread;
// Shared memory and clusters as on sm_90.
thread_local cuda::DeviceLimits limits_of_thread{4, 227 << 10, 3, true};
thread_local int resident_blocks_of_thread = kUsualResidentBlocks;
thread_local InFlight in_flight_of_thread;
thread_local int scopes_of_thread = 0;

}  // namespace

void Counts::operator+=(const Counts& other) {
  blocks += other.blocks;
  matrix_products += other.matrix_products;
  matrix_loads += other.matrix_loads;
  bank_conflicts += other.bank_conflicts;
  async_copies += other.async_copies;
  async_copies_16 += other.async_copies_16;
  records += other.records;
}

Counts run(const Launch& launch, const std::function<void()>& body) {
  if (launch.blocks < 1 || launch.threads < 1 || launch.threads > kMaxThreads ||
      launch.threads % kWarpSize != 0 || launch.cluster < 1 || launch.cluster > kMaxCluster ||
      launch.blocks % launch.cluster != 0) {
    throw std::invalid_argument("launch of " + launch.kernel + ": " +
                                std::to_string(launch.blocks) + " blocks of " +
                                std::to_string(launch.threads) + " threads in clusters of " +
                                std::to_string(launch.cluster));
  }
  const Omission omission = omission_of_thread;
  const bool reversed = reversed_of_thread;
  const cuda::DeviceScope scope(0);
  InFlight& in_flight = in_flight_of_thread;
  const InFlight::Before before = in_flight.begin(launch);
  Counts total;
  bool waited = false;
  GlobalMemory global(launch.memory, before.offsets, launch.blocks);
  if (launch.resident) {
    Machine machine(launch, global, body, omission, launch.blocks, before.gap);
    machine.run(0, launch.blocks);
    total = machine.counts;
    waited = machine.waited();
  } else {
    const int clusters = launch.blocks / launch.cluster;
    std::atomic<int> next = 0;
    std::exception_ptr failure;
    std::mutex mutex;
    const auto work = [&] {
      try {
        Machine machine(launch, global, body, omission, launch.cluster, before.gap);
        for (int c = next++; c < clusters; c = next++) {
          machine.run((reversed ? clusters - 1 - c : c) * launch.cluster, launch.cluster);
        }
        const std::lock_guard lock(mutex);
        total += machine.counts;
        waited |= machine.waited();
      } catch (...) {
        next = clusters;
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    };
    const int processors = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    std::vector<std::thread> helpers;
    for (int i = 1; i < std::min(processors, clusters); ++i) helpers.emplace_back(work);
    work();
    for (std::thread& helper : helpers) helper.join();
    if (failure) std::rethrow_exception(failure);
  }
  in_flight.end(launch, waited);
  counts_of_thread += total;
  return total;
}

void set_omission(Omission omission) { omission_of_thread = omission; }

void set_reversed(bool reversed) { reversed_of_thread = reversed; }

void set_limits(const cuda::DeviceLimits& limits) { limits_of_thread = limits; }

const cuda::DeviceLimits& limits() { return limits_of_thread; }

std::uint64_t tick() {
  static std::atomic<std::uint64_t> time = 0;
  return ++time;
}

void set_resident_blocks(int blocks) { resident_blocks_of_thread = blocks; }

int resident_blocks() { return resident_blocks_of_thread; }

void enter_device() { ++scopes_of_thread; }

void leave_device() {
  if (--scopes_of_thread == 0) in_flight_of_thread.finish();
}

Counts take_counts() { return std::exchange(counts_of_thread, Counts{}); }

}  // namespace ifast::emulator
