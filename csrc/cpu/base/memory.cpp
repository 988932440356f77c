#include "cpu/base/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

namespace ifast::cpu {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

constexpr std::size_t round_up(std::size_t n, std::size_t unit) {
  return (n + unit - 1) / unit * unit;
}

// Worth a huge page of its own from an eighth of it on: small pages also scatter over the sets of
// the second-level cache, of which less is then usable.
constexpr std::size_t alignment_of(std::size_t bytes) {
  return bytes >= kHugePage / 8 ? kHugePage : 4096;
}

}  // namespace

Memory::Memory(std::size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  const std::size_t alignment = alignment_of(bytes);
  const std::size_t whole = round_up(bytes, alignment);
  if (whole < bytes) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(::operator new(whole, std::align_val_t{alignment}));
#ifdef MADV_HUGEPAGE
  // Advice: without huge pages everything works, only slower.
  if (alignment == kHugePage) madvise(data_, whole, MADV_HUGEPAGE);
#endif
}

Memory::Memory(Memory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Memory::~Memory() {
  if (data_) {
    ::operator delete(data_, std::align_val_t{alignment_of(size_)});
  }
}

}  // namespace ifast::cpu
