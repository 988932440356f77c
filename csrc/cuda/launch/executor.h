#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cuda/launch/drivers.h"
#include "cuda/launch/network_schedule.h"
#include "cuda/launch/program.h"
#include "cuda/launch/runtime.h"

namespace ifast::cuda {

// fp32, tf32, fp16 or bf16. Throws EngineError.
Precision parse_precision(const std::string& name);

// Addresses of one call, all on the executor's device.
struct Call {
  const void* input = nullptr;
  std::array<std::int64_t, 4> input_strides{};  // N, C, H, W, in elements
  int batch = 0;
  void* arena = nullptr;     // arena_bytes(batch), aligned to 16 bytes
  void* counters = nullptr;  // counter_bytes(batch) of zeros, and zeros again afterwards
  // NHWC, one for each of the Plan's output buffers, in order; aligned to 16 bytes where a
  // convolution reads it.
  std::vector<void*> outputs;
  TileRecord* records = nullptr;  // tiles(batch) of zeros, where wanted
  std::uintptr_t stream = 0;
};

// A Plan made ready to run on one device. The same image gives the same bits, whatever the batch
// around it and the driver. Every function may be called from several threads at once.
class Executor {
 public:
  // constants are copied. Throws EngineError as build_program does and where `precision` is not of
  // the Plan's dtype, and DeviceError.
  Executor(const Plan& plan, const ConstantBytes& constants, Precision precision, Driver driver,
           int device, const LaunchOptions& options = {});

  // Enqueues one forward pass. The network driver allocates at the first call of a batch size,
  // which therefore cannot be recorded in a CUDA graph. Throws DeviceError, and
  // std::invalid_argument where the batch is too large for 32-bit indices of pixels and tiles, or
  // memory is not aligned.
  void run(const Call& call);

  std::size_t arena_bytes(int batch) const;
  // Two calls that may run at the same time must not share counters.
  std::size_t counter_bytes(int batch) const;
  // Of all launches, a pair's once for each block that shares it.
  int tiles(int batch) const;
  std::size_t weight_bytes() const { return constants_.size(); }
  // The names of the steps of each launch.
  std::vector<std::vector<std::string>> launches() const;
  // Of each convolution between buffers, the shape of its tiles in kShapes.
  std::vector<std::pair<std::string, int>> tile_shapes(int batch) const;
  // Of each launch.
  const std::vector<StageLaunch>& shapes() const { return program_.launches; }

 private:
  Executor(const Plan& plan, Precision precision, Driver driver, int device,
           const LaunchOptions& options, Program program);

  void check_alignment(const Call& call) const;
  Bindings bindings_of(const Call& call) const;
  std::vector<Range> memory_of(const Call& call) const;
  void run_stages(const Call& call) const;
  void run_network(const Call& call);

  int partials(int batch) const;
  int tile_counters(int batch) const;
  std::size_t activation_bytes(int batch) const;

  // The network driver's table of a batch size on the device, and its last entry.
  struct NetworkTable {
    NetworkTable(const std::vector<NetworkStep>& steps, int device);

    DeviceBytes table;
    NetworkStep end;
  };
  const NetworkTable& table_of(int batch);

  const Program program_;
  const std::vector<Buffer> buffers_;
  const int input_;
  const std::size_t element_size_;
  const Drivers& drivers_;
  const Driver driver_;
  const int device_;
  const LaunchOptions options_;
  const bool overlap_;
  const DeviceBytes constants_;
  const DeviceBytes steps_;
  const NetworkSchedule schedule_;
  const DeviceBytes dependencies_;
  std::mutex mutex_;
  std::map<int, NetworkTable> tables_;
};

}  // namespace ifast::cuda
