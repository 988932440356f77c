#include "cuda/launch/runtime.h"

#include <algorithm>
#include <new>

namespace ifast::cuda {

namespace {
// What cudaMalloc promises.
constexpr std::align_val_t kAlignment{256};
}  // namespace

DeviceScope::DeviceScope(int) {}
DeviceScope::~DeviceScope() {}

DeviceBytes::DeviceBytes(std::span<const std::byte> contents, int device)
    : data_(static_cast<std::byte*>(operator new(contents.size(), kAlignment))),
      size_(contents.size()),
      device_(device) {
  std::copy(contents.begin(), contents.end(), data_);
}

DeviceBytes::~DeviceBytes() { operator delete(data_, kAlignment); }

int multiprocessors(int) { return 4; }

}  // namespace ifast::cuda
