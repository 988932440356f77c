#include "cuda/launch/runtime.h"

#include <algorithm>
#include <new>

#include "emulator/launch.h"

namespace ifast::cuda {

namespace {
// What cudaMalloc promises.
constexpr std::align_val_t kAlignment{256};
}  // namespace

// Where a device is left, this thread's launches have finished.
DeviceScope::DeviceScope(int) { emulator::enter_device(); }
DeviceScope::~DeviceScope() { emulator::leave_device(); }

DeviceBytes::DeviceBytes(std::size_t size, int device)
    : data_(static_cast<std::byte*>(operator new(size, kAlignment))),
      size_(size),
      device_(device) {}

DeviceBytes::DeviceBytes(std::span<const std::byte> contents, int device)
    : DeviceBytes(contents.size(), device) {
  upload(contents.data());
}

void DeviceBytes::upload(const void* from) {
  std::copy_n(static_cast<const std::byte*>(from), size_, data_);
}

void DeviceBytes::download(void* to) const {
  std::copy_n(data_, size_, static_cast<std::byte*>(to));
}

DeviceBytes::~DeviceBytes() { operator delete(data_, kAlignment); }

DeviceLimits limits_of(int) { return emulator::limits(); }

}  // namespace ifast::cuda
