#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ifast::emulator {

// Who touches shared memory, and when: two accesses are in order where the later one's thread has
// met the earlier one's in a barrier since. A thread arrives at a cluster's barrier before it waits
// there, so those are counted for each thread.
struct Access {
  int thread;                   // of the cluster's
  int block;                    // of the cluster's
  std::uint32_t now;            // ticks at every barrier of a block or warp of the cluster
  std::uint32_t block_barrier;  // when the last one of this thread's block completed
  std::uint32_t warp_barrier;   // when the last one of this thread's warp completed
  std::uint16_t arrivals;       // at the cluster's barriers
  std::uint16_t waits;
};

// The shared memory of a block with, for every two bytes, who wrote and read it last.
class SharedMemory {
 public:
  // Nothing is written yet. `threads` are those of a block.
  void reset(std::size_t bytes, int threads);

  // Each returns what is wrong, or nothing.
  std::string read(const Access& access, std::uint32_t address, void* to, std::uint32_t bytes);
  std::string write(const Access& access, std::uint32_t address, const void* from,
                    std::uint32_t bytes);
  // A cp.async was issued: from now on, until it lands, the bytes may change at any time.
  std::string begin_copy(const Access& access, std::uint32_t address, std::uint32_t bytes);
  void land_copy(const Access& access, std::uint32_t address, const void* from,
                 std::uint32_t bytes);

 private:
  static constexpr std::int16_t kNobody = -1;
  static constexpr std::int16_t kSeveral = -2;

  enum State : std::uint8_t { kUnwritten, kWritten, kInFlight };

  // When one thread, or several, touched a place; of several, what they have in common.
  struct Visit {
    std::uint32_t time = 0;
    std::uint16_t arrivals = 0;  // the most
    std::int16_t thread = kNobody;
    std::int16_t warp = kNobody;
    std::int16_t block = kNobody;
  };

  struct Granule {
    Visit write;
    Visit read;
    State state = kUnwritten;
  };

  static Visit visit_of(const Access& access);
  static bool in_order(const Access& access, const Visit& earlier);
  std::string name_of(const Access& access, const Visit& visit) const;
  std::string check_range(std::uint32_t address, std::uint32_t bytes, const char* what) const;
  std::string check_write(const Access& access, std::uint32_t address, std::uint32_t bytes) const;

  int threads_ = 0;
  std::vector<std::byte> bytes_;
  std::vector<Granule> granules_;
};

}  // namespace ifast::emulator
