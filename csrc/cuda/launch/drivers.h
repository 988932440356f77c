#pragma once

#include <cstdint>
#include <span>

#include "cuda/launch/runtime.h"
#include "cuda/launch/steps.h"

// The kernels that run Plans, by precision. Everything throws DeviceError.
namespace ifast::cuda {

struct Drivers {
  // Enqueues one stage on a stream of the current device; the grid's blocks are its tiles.
  void (*stage)(const StageArguments& arguments, const Grid& grid, std::uintptr_t stream,
                std::span<const Range> memory);
  // The same where shapes for throughput are among the steps'; null where none is offered.
  void (*throughput)(const StageArguments& arguments, const Grid& grid, std::uintptr_t stream,
                     std::span<const Range> memory);
  // The same where the stage has pairs.
  void (*pair)(const StageArguments& arguments, const Grid& grid, std::uintptr_t stream,
               std::span<const Range> memory);
  // Enqueues a whole network, with at most so many blocks on a multiprocessor where it is not 0.
  void (*network)(const NetworkArguments& arguments, int blocks, std::uintptr_t stream,
                  std::span<const Range> memory);
};

extern const Drivers kDriversFp32;
extern const Drivers kDriversTf32;
extern const Drivers kDriversFp16;
extern const Drivers kDriversBf16;

}  // namespace ifast::cuda
