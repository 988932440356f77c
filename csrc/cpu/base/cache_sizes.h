#pragma once

#include <cstddef>

namespace ifast::cpu {

// Data caches in bytes, of one core but for the third level.
struct CacheSizes {
  std::size_t level1 = 32 << 10;
  std::size_t level2 = 256 << 10;
  std::size_t level3 = 8 << 20;
};

// Read from the system once; where it does not say, the defaults above.
const CacheSizes& cache_sizes();

}  // namespace ifast::cpu
