#include "cpu/base/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace ifast::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// Longer than an uneven stage lasts, shorter than a scheduler's time slice.
constexpr auto kBarrierSpin = std::chrono::microseconds(100);
// Bridges the gap between the calls of a busy caller.
constexpr auto kIdleSpin = std::chrono::microseconds(500);

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// Returns once `value` is no longer `old`.
void wait_for_change(const std::atomic<int>& value, int old, Clock::duration spin) {
  const auto end = Clock::now() + spin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      pause();
    }
    // Whoever is waited for may be on this very processor.
    sched_yield();
  } while (Clock::now() < end);
  value.wait(old, std::memory_order_acquire);
}

int this_processor() {
#ifdef __linux__
  return sched_getcpu();
#else
  return -1;
#endif
}

// Has the calling thread go on elsewhere, where its affinity allows. Two threads of a region on one
// processor take turns for as long as the system takes to notice, which is milliseconds.
void leave([[maybe_unused]] int processor) {
#ifdef __linux__
  cpu_set_t all;
  if (sched_getaffinity(0, sizeof(all), &all) != 0) return;
  cpu_set_t others = all;
  CPU_CLR(processor, &others);
  // Refused where nothing is left.
  if (sched_setaffinity(0, sizeof(others), &others) != 0) return;
  sched_setaffinity(0, sizeof(all), &all);
#endif
}

// Never destroyed: a worker may outlive the end of main.
std::atomic<ThreadPool*> current_pool{nullptr};

void watch_forks() {
  static const int registered =
      pthread_atfork([] { fork_safe_mutex().lock(); }, [] { fork_safe_mutex().unlock(); },
                     [] {
                       fork_safe_mutex().unlock();
                       current_pool.store(nullptr);
                     });
  static_cast<void>(registered);
}

}  // namespace

std::mutex& fork_safe_mutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
}

void Barrier::wait() {
  const int phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    // Sequentially consistent, as everything before a notify here: the library looks for sleepers
    // with a load, which must not run ahead of the store.
    phase_.store(phase + 1);
    phase_.notify_all();
  } else {
    wait_for_change(phase_, phase, kBarrierSpin);
  }
}

ThreadPool& ThreadPool::instance() {
  watch_forks();
  const std::lock_guard lock(fork_safe_mutex());
  ThreadPool* pool = current_pool.load();
  if (!pool) {
    pool = new ThreadPool;
    current_pool.store(pool);
  }
  return *pool;
}

void ThreadPool::run(int threads, Body body, void* argument) {
  if (threads == 1) {
    body(argument, 0);
  } else {
    instance().run_region(threads, body, argument);
  }
}

void ThreadPool::run_region(int threads, Body body, void* argument) {
  const std::lock_guard lock(region_);
  for (; workers_ < threads - 1; ++workers_) {
    const int generation = generation_.load(std::memory_order_relaxed);
    std::thread([=, this, index = workers_ + 1] { work(index, generation); }).detach();
  }
  threads_ = threads;
  body_ = body;
  argument_ = argument;
  processor_ = this_processor();
  // Every worker answers, so that none can still be reading this region's fields in the next one.
  running_.store(workers_, std::memory_order_relaxed);
  generation_.fetch_add(1);
  generation_.notify_all();
  body(argument, 0);
  for (int n = running_.load(std::memory_order_acquire); n != 0;
       n = running_.load(std::memory_order_acquire)) {
    wait_for_change(running_, n, kBarrierSpin);
  }
}

void ThreadPool::work(int index, int seen) {
  while (true) {
    wait_for_change(generation_, seen, kIdleSpin);
    seen = generation_.load(std::memory_order_acquire);
    if (index < threads_) {
      if (processor_ >= 0 && this_processor() == processor_) leave(processor_);
      body_(argument_, index);
    }
    if (running_.fetch_sub(1) == 1) running_.notify_all();
  }
}

int usable_processors() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace ifast::cpu
