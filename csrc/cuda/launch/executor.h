#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/launch/program.h"
#include "cuda/launch/runtime.h"
#include "cuda/launch/stage.h"

namespace ifast::cuda {

enum class Precision { kFp32, kTf32, kFp16, kBf16 };

// Addresses of one call, all on the executor's device.
struct Call {
  const void* input = nullptr;
  std::array<std::int64_t, 4> input_strides{};  // N, C, H, W, in elements
  int batch = 0;
  void* arena = nullptr;       // arena_bytes(batch)
  std::vector<void*> outputs;  // NHWC, one for each of the Plan's output buffers, in order
  std::uintptr_t stream = 0;
};

// A Plan made ready to run on one device: one launch a stage. The same image gives the same bits,
// whatever the batch around it. run() may be called from several threads at once.
class Executor {
 public:
  // constants are copied. Throws EngineError as build_program does and where `precision` is not of
  // the Plan's dtype, and DeviceError.
  Executor(const Plan& plan, const ConstantBytes& constants, Precision precision, int device);

  // Enqueues one forward pass, allocating nothing. Throws DeviceError, and std::invalid_argument
  // where the batch is too large for 32-bit indices of pixels and tiles.
  void run(const Call& call) const;

  std::size_t arena_bytes(int batch) const;
  std::size_t weight_bytes() const { return constants_.size(); }
  // The names of the steps of each launch.
  std::vector<std::vector<std::string>> launches() const;

 private:
  Executor(const Plan& plan, Precision precision, int device, Program program);

  Frame frame_of(const Call& call) const;
  std::vector<Range> memory_of(const Call& call) const;

  const Program program_;
  const std::vector<Buffer> buffers_;
  const int input_;
  const std::size_t element_size_;
  LaunchStage* const launch_;
  const int device_;
  const DeviceBytes constants_;
  const DeviceBytes steps_;
};

}  // namespace ifast::cuda
