#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <span>

#include "cuda/launch/errors.h"
#include "cuda/launch/runtime.h"
#include "ptx/platform.cuh"

namespace ifast::cuda {

// Enqueues one kernel that takes one struct. From sm_90 on it may start before earlier launches of
// the stream have finished, and waits for them itself.
template <class Arguments>
void launch(const char* name, void (*kernel)(Arguments), const Arguments& arguments, int blocks,
            int threads, int shared_bytes, std::uintptr_t stream, std::span<const Range>) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes);
  config.stream = reinterpret_cast<cudaStream_t>(stream);
  config.attrs = &attribute;
  config.numAttrs = has_programmatic_launch() ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, arguments), "cudaLaunchKernelEx", name);
}

}  // namespace ifast::cuda
