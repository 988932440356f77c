#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <span>

#include "cuda/launch/errors.h"
#include "cuda/launch/runtime.h"

namespace ifast::cuda {

// Enqueues one kernel that takes one struct. Blocks that wait for each other are all resident at
// once, or the launch fails. The others may start, from sm_90 on, before earlier launches of the
// stream have finished, and wait for them themselves.
template <class Arguments>
void launch(const char* name, void (*kernel)(Arguments), const Arguments& arguments,
            const Grid& grid, std::uintptr_t stream, std::span<const Range>) {
  cudaLaunchAttribute attribute{};
  if (grid.resident) {
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
  } else {
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(grid.blocks));
  config.blockDim = dim3(static_cast<unsigned>(grid.threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(grid.shared_bytes);
  config.stream = reinterpret_cast<cudaStream_t>(stream);
  config.attrs = &attribute;
  config.numAttrs = grid.resident || has_programmatic_launch() ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, arguments), "cudaLaunchKernelEx", name);
}

// Blocks that fit on the current device at once.
template <class Arguments>
int resident_blocks(const char* name, void (*kernel)(Arguments), int threads, int shared_bytes) {
  int device = 0, each = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, kernel, threads,
                                                      static_cast<std::size_t>(shared_bytes)),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessor", name);
  return each * multiprocessors(device);
}

}  // namespace ifast::cuda
