#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "emulator/launch.h"

namespace ifast::emulator {

// Launches of one thread of the host, each of which may have started before those before it had
// finished. Their stores are held back: they are in a copy of the memory that they are for, where
// threads that have waited find them. In the memory itself is what was there before the first of
// them, the least that a launch can see that starts early; whoever looks there, because it goes
// past ptx/ or takes for settled what is not, computes something else.
class InFlight {
 public:
  // What a launch finds.
  struct Before {
    std::vector<std::ptrdiff_t> offsets;  // of each range, from the memory to the copy
    // A launch that has not waited for those before it, so that its end does not mean theirs.
    std::string gap;
  };

  // Where the launch does not overlap, all others have finished first. Throws Fault where it calls
  // memory settled that earlier launches write.
  Before begin(const Launch& launch);
  // `waited`: some thread of it did.
  void end(const Launch& launch, bool waited);

  // All of them have finished: their stores are in place.
  void finish();

 private:
  // What cudaMalloc promises, and so the least that a copy must keep of its memory's alignment.
  static constexpr std::size_t kAlignment = 256;

  struct Free {
    void operator()(std::byte* memory) const;
  };

  struct Copy {
    std::byte* begin;
    std::size_t bytes;
    std::unique_ptr<std::byte, Free> allocation;
    std::byte* copy;
  };

  const Copy* find(const Launch& launch, const Range& range) const;
  const Copy& add(const Range& range);

  std::vector<Copy> copies_;
  std::string gap_;
};

}  // namespace ifast::emulator
