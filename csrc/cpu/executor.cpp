#include "cpu/executor.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <utility>

#include "cpu/schedule.h"
#include "cpu/thread_pool.h"

namespace ifast::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// The next task of one thread's part of a stage; a thread that has finished its own takes from
// others.
struct alignas(kCacheLine) Cursor {
  std::atomic<int> next;
};

}  // namespace

// What one call at a time needs: memory, and the schedules of the batch sizes it has seen.
class Executor::Context {
 public:
  Context(const Program& program, int threads)
      : program_(program),
        threads_(threads),
        barrier_(threads),
        cursors_(program.stages.size() * threads),
        scratch_(threads) {}

  void prepare(const void* input, const Strides& strides, int batch, void* const* outputs,
               bool timed) {
    auto found = schedules_.find(batch);
    if (found == schedules_.end()) {
      found = schedules_.emplace(batch, make_schedule(program_, batch, threads_)).first;
    }
    schedule_ = &found->second;
    grow(arena_, static_cast<std::size_t>(program_.arena) * batch * size_of(program_.dtype));
    for (Memory& memory : scratch_) grow(memory, schedule_->scratch);
    seconds_.assign(timed ? program_.ops.size() * threads_ : 0, 0.0);
    for (std::size_t i = 0; i < cursors_.size(); ++i) {
      const StageSchedule& stage = schedule_->stages[i / threads_];
      cursors_[i].next.store(stage.first_of_thread[i % threads_], std::memory_order_relaxed);
    }
    place_buffers(input, strides, batch, outputs);
  }

  void run_thread(int thread) {
    Scratch scratch{scratch_[thread].data(), nullptr, 0};
    for (std::size_t s = 0; s < schedule_->stages.size(); ++s) {
      if (s > 0) barrier_.wait();
      const StageSchedule& stage = schedule_->stages[s];
      for (int i = 0; i < threads_; ++i) {
        const int owner = (thread + i) % threads_;
        std::atomic<int>& next = cursors_[s * threads_ + owner].next;
        const int end = stage.first_of_thread[owner + 1];
        while (next.load(std::memory_order_relaxed) < end) {
          const int task = next.fetch_add(1, std::memory_order_relaxed);
          if (task < end) run_task(stage, task, thread, scratch);
        }
      }
    }
  }

  double seconds(int op) const {
    double total = 0;
    for (int t = 0; t < threads_; ++t) total += seconds_[op * threads_ + t];
    return total;
  }

 private:
  static void grow(Memory& memory, std::size_t bytes) {
    if (memory.size() < bytes) memory = Memory(bytes);
  }

  void place_buffers(const void* input, const Strides& strides, int batch, void* const* outputs) {
    frame_.batch = batch;
    frame_.element_size = size_of(program_.dtype);
    frame_.buffers.resize(program_.buffers.size());
    frame_.strides.resize(program_.buffers.size());
    for (std::size_t i = 0; i < program_.buffers.size(); ++i) {
      const Buffer& b = program_.buffers[i];
      const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(b.width) * b.channels;
      frame_.strides[i] = {row * b.height, row, b.channels, 1};
      if (b.home == Home::kArena) {
        frame_.buffers[i] = arena_.data() + b.offset * batch * frame_.element_size;
      }
    }
    // Nothing writes to the input buffer.
    frame_.buffers[program_.input] = static_cast<std::byte*>(const_cast<void*>(input));
    frame_.strides[program_.input] = strides;
    for (std::size_t i = 0; i < program_.outputs.size(); ++i) {
      frame_.buffers[program_.outputs[i]] = static_cast<std::byte*>(outputs[i]);
    }
  }

  void run_task(const StageSchedule& stage, int task, int thread, Scratch& scratch) {
    std::size_t i = 0;
    while (task >= stage.first_task[i + 1]) ++i;
    const int op = stage.ops[i];
    const bool timed = !seconds_.empty();
    const Clock::time_point start = timed ? Clock::now() : Clock::time_point();
    program_.ops[op]->run(frame_, schedule_->tilings[op], task - stage.first_task[i], scratch);
    if (timed) {
      seconds_[op * threads_ + thread] +=
          std::chrono::duration<double>(Clock::now() - start).count();
    }
  }

  const Program& program_;
  const int threads_;
  Barrier barrier_;
  std::vector<Cursor> cursors_;
  std::vector<Memory> scratch_;
  Memory arena_;
  std::map<int, Schedule> schedules_;
  const Schedule* schedule_ = nullptr;
  Frame frame_;
  std::vector<double> seconds_;
};

Executor::Executor(const Plan& plan, const ConstantBytes& constants, const Options& options)
    : program_(build_program(plan, constants, options.isa, options.algorithm)),
      threads_(std::max(1, options.threads)) {}

Executor::~Executor() = default;

std::unique_ptr<Executor::Context> Executor::take_context() {
  {
    const std::lock_guard lock(fork_safe_mutex());
    if (!idle_.empty()) {
      auto context = std::move(idle_.back());
      idle_.pop_back();
      return context;
    }
  }
  return std::make_unique<Context>(program_, threads_);
}

void Executor::give_back(std::unique_ptr<Context> context) {
  const std::lock_guard lock(fork_safe_mutex());
  idle_.push_back(std::move(context));
}

void Executor::run(const void* input, const Strides& strides, int batch, void* const* outputs,
                   std::vector<OpReport>* reports) {
  std::unique_ptr<Context> context = take_context();
  context->prepare(input, strides, batch, outputs, reports != nullptr);
  ThreadPool::run(
      threads_,
      [](void* argument, int thread) { static_cast<Context*>(argument)->run_thread(thread); },
      context.get());
  if (reports) {
    *reports = report();
    for (std::size_t i = 0; i < reports->size(); ++i) {
      (*reports)[i].seconds = context->seconds(static_cast<int>(i));
    }
  }
  give_back(std::move(context));
}

std::vector<OpReport> Executor::report() const {
  std::vector<OpReport> reports(program_.ops.size());
  for (std::size_t s = 0; s < program_.stages.size(); ++s) {
    for (int op : program_.stages[s]) {
      reports[op] = {program_.names[op], program_.ops[op]->describe(), static_cast<int>(s), 0.0};
    }
  }
  return reports;
}

}  // namespace ifast::cpu
