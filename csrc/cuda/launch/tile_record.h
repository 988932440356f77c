#pragma once

#include <cstdint>

namespace ifast::cuda {

// What one block did at one tile of a step, or at one segment of it, in nanoseconds of the device's
// clock; 0 where that did not happen. A launch has one record for each of its tiles.
struct TileRecord {
  std::uint64_t start;
  std::uint64_t ready;        // has waited for what the step reads
  std::uint64_t first_chunk;  // the first chunk of K is in shared memory
  std::uint64_t loop_end;     // the last chunk is multiplied
  std::uint64_t done;
  std::int32_t step;  // of the Program
  std::int32_t tile;  // of the step
  std::int32_t multiprocessor;
  std::int32_t unused;
};

}  // namespace ifast::cuda
