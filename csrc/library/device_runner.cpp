// Compiled once for devices and once for the emulator; IFAST_MAKE_RUNNER is the name of its entry.
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/launch/executor.h"
#include "library/runner.h"

namespace ifast {
namespace {

// Device memory of one batch size.
struct Workspace {
  Workspace(const cuda::Executor& executor, const Plan& plan, int batch, int device)
      : batch(batch),
        input(bytes_of(plan.buffers[plan.input()], batch, plan.input_dtype()), device),
        arena(executor.arena_bytes(batch), device),
        counters(std::vector<std::byte>(executor.counter_bytes(batch)), device) {
    for (const Buffer& buffer : plan.buffers) {
      if (buffer.home == Home::kOutput)
        outputs.emplace_back(bytes_of(buffer, batch, plan.dtype), device);
    }
  }

  static std::size_t bytes_of(const Buffer& buffer, int batch, Dtype dtype) {
    return static_cast<std::size_t>(buffer.size()) * batch * size_of(dtype);
  }

  const int batch;
  cuda::DeviceBytes input, arena, counters;
  std::list<cuda::DeviceBytes> outputs;
};

class DeviceRunner final : public Runner {
 public:
  DeviceRunner(const EngineFile& engine, int device)
      : plan_(engine.plan),
        dense_(engine),
        device_(device),
        executor_(engine.plan, engine.constants, cuda::parse_precision(engine.metadata.precision),
                  cuda::Driver::kStage, device) {}

  void run(const void* input, int batch, std::span<void* const> outputs) override {
    const std::lock_guard lock(mutex_);
    // A call that fails leaves counters that are not zero, and so loses its workspace.
    std::unique_ptr<Workspace> workspace = std::move(workspace_);
    if (!workspace || workspace->batch != batch) {
      workspace.reset();
      workspace = std::make_unique<Workspace>(executor_, plan_, batch, device_);
    }
    Workspace& w = *workspace;
    w.input.upload(input);
    cuda::Call call;
    call.input = w.input.data();
    call.input_strides = {dense_.image, dense_.channel, dense_.row, dense_.column};
    call.batch = batch;
    call.arena = w.arena.data();
    call.counters = w.counters.data();
    for (cuda::DeviceBytes& output : w.outputs) call.outputs.push_back(output.data());
    executor_.run(call);
    std::size_t i = 0;
    for (const cuda::DeviceBytes& output : w.outputs) output.download(outputs[i++]);
    workspace_ = std::move(workspace);
  }

 private:
  const Plan plan_;
  const Dense dense_;
  const int device_;
  cuda::Executor executor_;
  std::mutex mutex_;
  std::unique_ptr<Workspace> workspace_;
};

}  // namespace

std::unique_ptr<Runner> IFAST_MAKE_RUNNER(const EngineFile& engine, int device) {
  return std::make_unique<DeviceRunner>(engine, device);
}

}  // namespace ifast
