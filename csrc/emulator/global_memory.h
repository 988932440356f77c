#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "cuda/launch/runtime.h"

namespace ifast::emulator {

// What a block has done and knows of the others, as a vector clock: of each block, up to which of
// its releases everything has been acquired. A block counts as one: its threads are in order with
// each other by its barriers.
struct BlockClock {
  std::uint32_t block = 0;
  std::uint32_t releases = 1;        // its own, and one
  std::vector<std::uint32_t> known;  // of each block; empty where nothing was acquired
};

// The global memory of a launch with, for every two bytes that may be written, which block wrote
// last, and when. Blocks may use it from several threads of the host.
class GlobalMemory {
 public:
  // What a range says is at its addresses is `offsets` bytes further, one of each range.
  GlobalMemory(std::span<const cuda::Range> ranges, std::span<const std::ptrdiff_t> offsets,
               int blocks);

  // Returns the range that the bytes lie in, or nullptr.
  const cuda::Range* find(const void* address, std::size_t bytes) const;

  // Where bytes of a range that find returned are.
  void* place(const cuda::Range& range, const void* address) const;

  // Of bytes in a range that find returned. Each returns what is wrong, or nothing.
  std::string read(const BlockClock& clock, const cuda::Range& range, const void* address,
                   std::size_t bytes) const;
  std::string write(const BlockClock& clock, const cuda::Range& range, const void* address,
                    std::size_t bytes);

  // A counter, whose value the caller changes or reads.
  void release(BlockClock& clock, const unsigned* counter);
  void acquire(BlockClock& clock, const unsigned* counter);
  // A relaxed load collects what a later fence makes known.
  void observe(std::vector<std::uint32_t>& observed, const unsigned* counter);
  void fence(BlockClock& clock, std::vector<std::uint32_t>& observed);

 private:
  // Block and one in the high half, 0 for nobody; its releases in the low half. Zero pages come
  // without cost, so what a launch does not touch has none.
  using Writer = std::atomic<std::uint64_t>;
  struct Free {
    void operator()(Writer* memory) const;
  };
  using Writers = std::unique_ptr<Writer[], Free>;

  static std::string conflict(const BlockClock& clock, std::uint64_t writer, std::size_t bytes,
                              const char* what);
  std::span<Writer> writers_of(const cuda::Range& range, const void* address,
                               std::size_t bytes) const;

  const std::span<const cuda::Range> ranges_;
  const std::span<const std::ptrdiff_t> offsets_;
  const int blocks_;
  std::vector<Writers> writers_;  // of each range
  std::mutex mutex_;
  std::unordered_map<const unsigned*, std::vector<std::uint32_t>> counters_;
};

}  // namespace ifast::emulator
