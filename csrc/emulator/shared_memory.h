#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ifast::emulator {

// Who touches shared memory, and when: two accesses are in order where the later one's thread has
// met the earlier one's in a barrier since.
struct Access {
  int thread;
  std::uint32_t now;            // ticks at every barrier that completes in the block
  std::uint32_t block_barrier;  // when the last one of the whole block completed
  std::uint32_t warp_barrier;   // when the last one of this thread's warp completed
};

// The shared memory of a block with, for every two bytes, who wrote and read it last.
class SharedMemory {
 public:
  // Nothing is written yet.
  void reset(std::size_t bytes);

  // Each returns what is wrong, or nothing.
  std::string read(const Access& access, std::uint32_t address, void* to, std::uint32_t bytes);
  std::string write(const Access& access, std::uint32_t address, const void* from,
                    std::uint32_t bytes);
  // A cp.async was issued: from now on, until it lands, the bytes may change at any time.
  std::string begin_copy(const Access& access, std::uint32_t address, std::uint32_t bytes);
  void land_copy(const Access& access, std::uint32_t address, const void* from,
                 std::uint32_t bytes);

 private:
  enum State : std::uint8_t { kUnwritten, kWritten, kInFlight };

  struct Granule {
    std::uint32_t write_time;
    std::uint32_t read_time;
    std::int16_t writer;
    std::int16_t reader;  // kSeveral, where not one thread alone
    std::int16_t reader_warp;
    State state;
  };

  std::string check_range(std::uint32_t address, std::uint32_t bytes, const char* what) const;
  std::string check_write(const Access& access, std::uint32_t address, std::uint32_t bytes) const;

  std::vector<std::byte> bytes_;
  std::vector<Granule> granules_;
};

}  // namespace ifast::emulator
