#include "emulator/launch.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "emulator/machine.h"

namespace ifast::emulator {
namespace {

constexpr int kMaxThreads = 1024;

thread_local Omission omission_of_thread = Omission::kNone;
thread_local Counts counts_of_thread;

}  // namespace

void Counts::operator+=(const Counts& other) {
  blocks += other.blocks;
  matrix_products += other.matrix_products;
  matrix_loads += other.matrix_loads;
  bank_conflicts += other.bank_conflicts;
  async_copies += other.async_copies;
  async_copies_16 += other.async_copies_16;
}

Counts run(const Launch& launch, const std::function<void()>& body) {
  if (launch.blocks < 1 || launch.threads < 1 || launch.threads > kMaxThreads ||
      launch.threads % kWarpSize != 0) {
    throw std::invalid_argument("launch of " + launch.kernel + ": " +
                                std::to_string(launch.blocks) + " blocks of " +
                                std::to_string(launch.threads) + " threads");
  }
  const Omission omission = omission_of_thread;
  Counts total;
  if (launch.resident) {
    Machine machine(launch, body, omission, launch.blocks);
    machine.run(0, launch.blocks);
    total = machine.counts;
  } else {
    std::atomic<int> next = 0;
    std::exception_ptr failure;
    std::mutex mutex;
    const auto work = [&] {
      try {
        Machine machine(launch, body, omission, 1);
        for (int b = next++; b < launch.blocks; b = next++) machine.run(b, 1);
        const std::lock_guard lock(mutex);
        total += machine.counts;
      } catch (...) {
        next = launch.blocks;
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    };
    const int processors = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    std::vector<std::thread> helpers;
    for (int i = 1; i < std::min(processors, launch.blocks); ++i) helpers.emplace_back(work);
    work();
    for (std::thread& helper : helpers) helper.join();
    if (failure) std::rethrow_exception(failure);
  }
  counts_of_thread += total;
  return total;
}

void set_omission(Omission omission) { omission_of_thread = omission; }

Counts take_counts() { return std::exchange(counts_of_thread, Counts{}); }

}  // namespace ifast::emulator
