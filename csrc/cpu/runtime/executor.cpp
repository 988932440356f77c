#include "cpu/runtime/executor.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <utility>

#include "cpu/base/thread_pool.h"
#include "cpu/runtime/schedule.h"

namespace ifast::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// The next task of one thread's part of a stage; a thread that has finished its own takes from
// others.
struct alignas(kCacheLine) Cursor {
  std::atomic<int> next;
};

// A third-level cache's worth; what the system reports is often that of a whole socket.
constexpr std::int64_t kGroupBytes = std::int64_t{32} << 20;

// Batch sizes whose schedules are kept; one more, and all are made anew.
constexpr std::size_t kSchedules = 64;

// Images whose activations stay in the caches from one stage to the next, yet enough for all
// threads.
int group_size(const Program& program, int threads) {
  const std::int64_t image = std::max<std::int64_t>(1, program.arena * size_of(program.dtype));
  return static_cast<int>(std::max<std::int64_t>(threads, kGroupBytes / image));
}

}  // namespace

// What one call at a time needs besides memory: the schedules of the batch sizes it has seen. A
// call's images go through the network in groups, so that a large batch neither outgrows the caches
// nor takes more memory than a small one.
class Executor::Context {
 public:
  Context(const Program& program, int threads)
      : program_(program),
        threads_(threads),
        barrier_(threads),
        cursors_(program.stages.size() * threads),
        seconds_(program.ops.size() * threads) {}

  void run(const Call& call, bool timed, Workspace& workspace) {
    workspace_ = &workspace;
    timed_ = timed;
    std::fill(seconds_.begin(), seconds_.end(), 0.0);
    const int groups = (call.batch + group_ - 1) / group_;
    for (int i = 0; i < groups; ++i) {
      prepare(call, part_of(call.batch, i, groups));
      ThreadPool::run(
          threads_, [](void* self, int thread) { static_cast<Context*>(self)->run_thread(thread); },
          this);
    }
  }

  double seconds(int op) const {
    double total = 0;
    for (int t = 0; t < threads_; ++t) total += seconds_[op * threads_ + t];
    return total;
  }

 private:
  void prepare(const Call& call, Range images) {
    const int batch = images.size();
    auto found = schedules_.find(batch);
    if (found == schedules_.end()) {
      if (schedules_.size() == kSchedules) schedules_.clear();
      found = schedules_.emplace(batch, make_schedule(program_, batch, threads_)).first;
    }
    schedule_ = &found->second;
    grow(workspace_->arena,
         static_cast<std::size_t>(program_.arena) * batch * size_of(program_.dtype));
    // Another executor may have fewer threads.
    if (workspace_->scratch.size() < static_cast<std::size_t>(threads_)) {
      workspace_->scratch.resize(threads_);
    }
    for (Memory& memory : workspace_->scratch) grow(memory, schedule_->scratch);
    for (Cursor& cursor : cursors_) cursor.next.store(0, std::memory_order_relaxed);
    place_buffers(call, images);
  }

  void run_thread(int thread) {
    Scratch scratch{workspace_->scratch[thread].data(), nullptr, 0};
    for (std::size_t s = 0; s < schedule_->stages.size(); ++s) {
      if (s > 0) barrier_.wait();
      for (int i = 0; i < threads_; ++i) {
        const int owner = (thread + i) % threads_;
        const Share& share = schedule_->stages[s][owner];
        std::atomic<int>& next = cursors_[s * threads_ + owner].next;
        while (next.load(std::memory_order_relaxed) < share.tasks) {
          const int task = next.fetch_add(1, std::memory_order_relaxed);
          if (task < share.tasks) run_task(share, task, thread, scratch);
        }
      }
    }
  }

  static void grow(Memory& memory, std::size_t bytes) {
    if (memory.size() < bytes) memory = Memory(bytes);
  }

  void place_buffers(const Call& call, Range images) {
    bindings_.batch = images.size();
    bindings_.element_size = size_of(program_.dtype);
    bindings_.buffers.resize(program_.buffers.size());
    bindings_.strides.resize(program_.buffers.size());
    for (std::size_t i = 0; i < program_.buffers.size(); ++i) {
      const Buffer& b = program_.buffers[i];
      const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(b.width) * b.channels;
      bindings_.strides[i] = {row * b.height, row, b.channels, 1};
      if (b.home == Home::kArena) {
        bindings_.buffers[i] =
            workspace_->arena.data() + b.offset * bindings_.batch * bindings_.element_size;
      }
    }
    // Of the caller's memory.
    const auto element = static_cast<std::ptrdiff_t>(size_of(outside_of(program_.dtype)));
    // Nothing writes to the input buffer.
    auto* input = static_cast<std::byte*>(const_cast<void*>(call.input));
    const auto taken = program_.buffers[program_.input].dtype ? 1 : element;
    bindings_.buffers[program_.input] = input + images.begin * call.strides.image * taken;
    bindings_.strides[program_.input] = call.strides;
    for (std::size_t i = 0; i < program_.outputs.size(); ++i) {
      const int buffer = program_.outputs[i];
      bindings_.buffers[buffer] = static_cast<std::byte*>(call.outputs[i]) +
                                  images.begin * bindings_.strides[buffer].image * element;
    }
  }

  void run_task(const Share& share, int task, int thread, Scratch& scratch) {
    auto part = share.parts.begin();
    for (; task >= part->count; ++part) task -= part->count;
    const Clock::time_point start = timed_ ? Clock::now() : Clock::time_point();
    const int op = part->op;
    program_.ops[op]->run(bindings_, schedule_->tilings[op], part->first + task, scratch);
    if (timed_) {
      seconds_[op * threads_ + thread] +=
          std::chrono::duration<double>(Clock::now() - start).count();
    }
  }

  const Program& program_;
  const int threads_;
  const int group_ = group_size(program_, threads_);  // images
  Barrier barrier_;
  std::vector<Cursor> cursors_;
  Workspace* workspace_ = nullptr;
  std::map<int, Schedule> schedules_;
  const Schedule* schedule_ = nullptr;
  Bindings bindings_;
  std::vector<double> seconds_;  // [operator][thread]
  bool timed_ = false;
};

Executor::Executor(const Plan& plan, const ConstantBytes& constants, const Options& options)
    : memory_(options.memory ? options.memory : std::make_shared<NetworkMemory>()),
      program_(build_program(plan, constants, options.isa, options.algorithm, options.digests,
                             memory_->weights())),
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

void Executor::run(const Call& call, std::vector<OpReport>* reports) {
  std::unique_ptr<Context> context = take_context();
  std::unique_ptr<Workspace> workspace = memory_->take_workspace();
  context->run(call, reports != nullptr, *workspace);
  memory_->give_back(std::move(workspace));
  if (reports) {
    *reports = report();
    for (std::size_t i = 0; i < reports->size(); ++i) {
      (*reports)[i].seconds = context->seconds(static_cast<int>(i));
    }
  }
  give_back(std::move(context));
}

std::vector<std::shared_ptr<const PackedWeights>> Executor::weights() const {
  auto found = program_.weights.weights();
  for (const auto& op : program_.ops) {
    if (const WeightStore* late = op->late_weights()) {
      found.insert(found.end(), late->weights().begin(), late->weights().end());
    }
  }
  return found;
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
