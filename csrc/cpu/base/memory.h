#pragma once

#include <cstddef>

namespace ifast::cpu {

inline constexpr std::size_t kCacheLine = 64;

// Uninitialised memory on a page boundary, in huge pages where the system has them: a forward pass
// walks through more pages than the processor's translation buffer holds.
class Memory {
 public:
  Memory() = default;
  explicit Memory(std::size_t bytes);  // throws std::bad_alloc
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;
  ~Memory();

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ifast::cpu
