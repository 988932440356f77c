#include <algorithm>

#include "cuda/launch/errors.h"
#include "cuda/launch/runtime.h"

namespace ifast::cuda {
namespace {

// Eight blocks, which every device with clusters has room for.
constexpr int kPortableClusterLog2 = 3;

// The first CUDA whose graphs record that launches overlap.
constexpr int kOverlapInGraphs = 12030;

// Built for the same architectures as every kernel.
__global__ void probe() {}

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

}  // namespace

DeviceScope::DeviceScope(int device) {
  check(cudaGetDevice(&before_), "cudaGetDevice");
  check(cudaSetDevice(device), "cudaSetDevice");
}

DeviceScope::~DeviceScope() { cudaSetDevice(before_); }

DeviceBytes::DeviceBytes(std::size_t size, int device) : size_(size), device_(device) {
  const DeviceScope scope(device);
  void* memory = nullptr;
  check(cudaMalloc(&memory, size_), "cudaMalloc");
  data_ = static_cast<std::byte*>(memory);
}

// The object is whole once the first constructor has returned, so its destructor frees the memory
// where the copy fails.
DeviceBytes::DeviceBytes(std::span<const std::byte> contents, int device)
    : DeviceBytes(contents.size(), device) {
  upload(contents.data());
}

// A copy from pageable memory returns once the contents are staged. Streams that do not wait for
// the default one would read too early.
void DeviceBytes::upload(const void* from) {
  const DeviceScope scope(device_);
  check(cudaMemcpy(data_, from, size_, cudaMemcpyHostToDevice), "cudaMemcpy");
  check(cudaStreamSynchronize(cudaStreamLegacy), "cudaStreamSynchronize");
}

void DeviceBytes::download(void* to) const {
  const DeviceScope scope(device_);
  check(cudaMemcpy(to, data_, size_, cudaMemcpyDeviceToHost), "cudaMemcpy");
}

// Errors cannot leave a destructor; at the process's end the context may be gone already. A garbage
// collector may call it while its thread records a graph, which cudaFree would break otherwise.
DeviceBytes::~DeviceBytes() {
  int before = 0;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  if (cudaGetDevice(&before) != cudaSuccess || cudaSetDevice(device_) != cudaSuccess) return;
  cudaThreadExchangeStreamCaptureMode(&mode);
  cudaFree(data_);
  cudaThreadExchangeStreamCaptureMode(&mode);
  cudaSetDevice(before);
}

DeviceLimits limits_of(int device) {
  const DeviceScope scope(device);
  // A later device may run code that was built for an earlier one, with what that one had.
  cudaFuncAttributes code{};
  check(cudaFuncGetAttributes(&code, probe), "cudaFuncGetAttributes", "probe");
  const bool clusters = code.ptxVersion >= 90;
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  return {attribute(cudaDevAttrMultiProcessorCount, device),
          attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
          clusters ? kPortableClusterLog2 : 0,
          clusters && std::min(driver, runtime) >= kOverlapInGraphs};
}

}  // namespace ifast::cuda
