#pragma once

#include <atomic>
#include <mutex>

namespace ifast::cpu {

// Threads that wait for each other: spin, then sleep.
class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void wait();

 private:
  const int threads_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> phase_{0};
};

// The process's worker threads, shared by all executors; they grow on demand, spin for a while
// after a region and then sleep. A forked child gets a pool of its own.
class ThreadPool {
 public:
  using Body = void (*)(void* argument, int thread);

  // body(argument, i) for i in [0, threads), i = 0 on the calling thread. Other callers wait.
  static void run(int threads, Body body, void* argument);

 private:
  static ThreadPool& instance();
  void run_region(int threads, Body body, void* argument);
  void work(int index, int seen);  // answers every generation after `seen`

  std::mutex region_;  // held by the caller whose region runs
  int workers_ = 0;
  int threads_ = 0;
  Body body_ = nullptr;
  void* argument_ = nullptr;
  int processor_ = -1;  // that the caller was on
  alignas(64) std::atomic<int> generation_{0};
  alignas(64) std::atomic<int> running_{0};
};

// Threads that the process may run at once, by its affinity mask.
int usable_processors();

// Locked over every fork, so that a child never finds it held by a thread that it does not have.
std::mutex& fork_safe_mutex();

}  // namespace ifast::cpu
