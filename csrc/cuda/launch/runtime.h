#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

// The device as launch/ sees it. runtime.cu is the CUDA runtime's; emulator/runtime.cpp is the
// emulator's, where a device pointer is the host's and streams are ignored.
namespace ifast::cuda {

// A call of the CUDA runtime failed; the message names the call, the kernel and the error.
class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Memory that a launch may touch, for those who check it.
struct Range {
  const void* begin = nullptr;
  std::size_t bytes = 0;
  bool writable = false;
  bool settled = false;  // no other launch writes to it, so nobody need wait before using it
};

struct Grid {
  int blocks = 1;
  int threads = 32;
  int shared_bytes = 0;
  int cluster = 1;        // consecutive blocks that see each other's shared memory
  bool resident = false;  // all blocks wait for each other
  bool overlaps = false;  // may start before earlier launches have finished, and waits for them
};

// What a device and the code built for it can do.
struct DeviceLimits {
  int multiprocessors = 1;
  int shared_bytes = 0;  // of a block
  int cluster_log2 = 0;  // of the largest cluster
  bool overlap = false;  // programmatic dependent launch
};

// Bytes on the device.
class DeviceBytes {
 public:
  DeviceBytes(std::size_t size, int device);  // of any value
  DeviceBytes(std::span<const std::byte> contents, int device);
  ~DeviceBytes();
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;

  // Of the host's memory: size() bytes. download() waits for the launches before it.
  void upload(const void* from);
  void download(void* to) const;

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  int device_ = 0;
};

// Makes a device the calling thread's for as long as it lives.
class DeviceScope {
 public:
  explicit DeviceScope(int device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_ = 0;
};

DeviceLimits limits_of(int device);

}  // namespace ifast::cuda
