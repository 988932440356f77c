#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <mutex>
#include <set>
#include <span>
#include <utility>

#include "cuda/launch/errors.h"
#include "cuda/launch/runtime.h"

namespace ifast::cuda {

// More dynamic shared memory must be asked for.
inline constexpr int kPlainSharedBytes = 48 << 10;

// Once for a kernel and a device. The limit belongs to the kernel, not to a launch: where all set
// the same one, threads that launch side by side cannot take from each other what they need.
// Multiprocessors give all that they have to shared memory, so that none has to be emptied between
// kernels that want different shares.
template <class Arguments>
void allow_all_shared_memory(const char* name, void (*kernel)(Arguments)) {
  static std::mutex mutex;
  static std::set<std::pair<void (*)(Arguments), int>> done;
  int device = 0, most = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  const std::lock_guard lock(mutex);
  if (done.contains({kernel, device})) return;
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
        "cudaDeviceGetAttribute");
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most),
        "cudaFuncSetAttribute", name);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                             cudaSharedmemCarveoutMaxShared),
        "cudaFuncSetAttribute", name);
  done.insert({kernel, device});
}

// Enqueues one kernel that takes one struct. Blocks that wait for each other are all resident at
// once, or the launch fails.
template <class Arguments>
void launch(const char* name, void (*kernel)(Arguments), const Arguments& arguments,
            const Grid& grid, std::uintptr_t stream, std::span<const Range>) {
  if (grid.shared_bytes > kPlainSharedBytes) allow_all_shared_memory(name, kernel);
  std::array<cudaLaunchAttribute, 3> attributes{};
  unsigned count = 0;
  if (grid.resident) {
    attributes[count].id = cudaLaunchAttributeCooperative;
    attributes[count++].val.cooperative = 1;
  }
  if (grid.overlaps) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (grid.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count++].val.clusterDim = {static_cast<unsigned>(grid.cluster), 1, 1};
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(grid.blocks));
  config.blockDim = dim3(static_cast<unsigned>(grid.threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(grid.shared_bytes);
  config.stream = reinterpret_cast<cudaStream_t>(stream);
  config.attrs = attributes.data();
  config.numAttrs = count;
  check(cudaLaunchKernelEx(&config, kernel, arguments), "cudaLaunchKernelEx", name);
}

// Blocks that fit on the current device at once, at most `limit` on a multiprocessor where it is
// not 0.
template <class Arguments>
int resident_blocks(const char* name, void (*kernel)(Arguments), int threads, int shared_bytes,
                    int limit) {
  int device = 0, each = 0;
  if (shared_bytes > kPlainSharedBytes) allow_all_shared_memory(name, kernel);
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, kernel, threads,
                                                      static_cast<std::size_t>(shared_bytes)),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessor", name);
  if (limit != 0) each = std::min(each, limit);
  return each * limits_of(device).multiprocessors;
}

}  // namespace ifast::cuda
