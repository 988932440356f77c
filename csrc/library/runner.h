#pragma once

#include <memory>
#include <span>

#include "plan/engine_file.h"

namespace ifast {

// An engine on one backend.
class Runner {
 public:
  virtual ~Runner() = default;

  // In outside_of(the Plan's dtype), in the host's memory: input is [N, C, H, W], and outputs are
  // NHWC, one for each of the Plan's output buffers, in order. May be called from several threads
  // at once.
  virtual void run(const void* input, int batch, std::span<void* const> outputs) = 0;
};

// Strides of a dense [N, C, H, W], in elements.
struct Dense {
  explicit Dense(const Buffer& image)
      : row(image.width), plane(row * image.height), image(plane * image.channels) {}

  std::int64_t row;
  std::int64_t plane;
  std::int64_t image;
};

std::unique_ptr<Runner> make_cpu_runner(const EngineFile& engine, int threads);

// Each from a shared library of its own, since the emulator has the names of csrc/cuda.
__attribute__((visibility("default"))) std::unique_ptr<Runner> make_cuda_runner(
    const EngineFile& engine, int device);
__attribute__((visibility("default"))) std::unique_ptr<Runner> make_emulator_runner(
    const EngineFile& engine, int device);

}  // namespace ifast
