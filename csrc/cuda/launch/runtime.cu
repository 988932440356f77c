#include "cuda/launch/errors.h"
#include "cuda/launch/runtime.h"

namespace ifast::cuda {
namespace {

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

DeviceBytes::DeviceBytes(std::span<const std::byte> contents, int device)
    : size_(contents.size()), device_(device) {
  const DeviceScope scope(device);
  void* memory = nullptr;
  check(cudaMalloc(&memory, size_), "cudaMalloc");
  data_ = static_cast<std::byte*>(memory);
  const cudaError_t copied = cudaMemcpy(memory, contents.data(), size_, cudaMemcpyHostToDevice);
  if (copied != cudaSuccess) cudaFree(memory);
  check(copied, "cudaMemcpy");
}

// Errors cannot leave a destructor; at the process's end the context may be gone already.
DeviceBytes::~DeviceBytes() {
  int before = 0;
  if (cudaGetDevice(&before) != cudaSuccess || cudaSetDevice(device_) != cudaSuccess) return;
  cudaFree(data_);
  cudaSetDevice(before);
}

int multiprocessors(int device) { return attribute(cudaDevAttrMultiProcessorCount, device); }

bool has_programmatic_launch() {
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  return attribute(cudaDevAttrComputeCapabilityMajor, device) >= 9;
}

}  // namespace ifast::cuda
