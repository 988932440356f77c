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

void DeviceBytes::upload(const void* from) {
  const DeviceScope scope(device_);
  check(cudaMemcpy(data_, from, size_, cudaMemcpyHostToDevice), "cudaMemcpy");
}

void DeviceBytes::download(void* to) const {
  const DeviceScope scope(device_);
  check(cudaMemcpy(to, data_, size_, cudaMemcpyDeviceToHost), "cudaMemcpy");
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
