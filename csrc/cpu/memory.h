#pragma once

#include <cstddef>
#include <vector>

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

// Hands out cache-line aligned pieces of large blocks; they live as long as it does. The packed
// weights lie in it in the order of their use. block: bytes that are taken from the system at
// least.
class WeightStore {
 public:
  explicit WeightStore(std::size_t block = std::size_t{32} << 20) : block_(block) {}

  template <class T>
  T* take(std::size_t count) {
    return reinterpret_cast<T*>(take_bytes(count * sizeof(T)));
  }
  std::size_t bytes() const { return taken_; }

 private:
  std::byte* take_bytes(std::size_t bytes);

  std::size_t block_;
  std::vector<Memory> blocks_;
  std::size_t used_ = 0;  // of the last block
  std::size_t taken_ = 0;
};

}  // namespace ifast::cpu
