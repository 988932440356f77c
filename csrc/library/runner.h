#pragma once

#include <memory>
#include <span>

#include "plan/engine_file.h"

namespace ifast {

// An engine on one backend.
class Runner {
 public:
  virtual ~Runner() = default;

  // In the host's memory: input is of the Plan's input_dtype(), in the layout that the engine says;
  // outputs are of outside_of(the Plan's dtype), NHWC, one for each of the Plan's output buffers,
  // in order. May be called from several threads at once.
  virtual void run(const void* input, int batch, std::span<void* const> outputs) = 0;
};

// Strides of an engine's dense input, in elements.
struct Dense {
  explicit Dense(const EngineFile& engine) {
    const Buffer& input = engine.plan.buffers[engine.plan.input()];
    const bool pixels = engine.metadata.input_layout == InputLayout::kNhwc;
    column = pixels ? input.channels : 1;
    row = column * input.width;
    channel = pixels ? 1 : row * input.height;
    image = input.size();
  }

  std::int64_t image, row, column, channel;
};

std::unique_ptr<Runner> make_cpu_runner(const EngineFile& engine, int threads);

// Each from a shared library of its own, since the emulator has the names of csrc/cuda.
__attribute__((visibility("default"))) std::unique_ptr<Runner> make_cuda_runner(
    const EngineFile& engine, int device);
__attribute__((visibility("default"))) std::unique_ptr<Runner> make_emulator_runner(
    const EngineFile& engine, int device);

}  // namespace ifast
