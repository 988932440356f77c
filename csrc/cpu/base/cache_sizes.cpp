#include "cpu/base/cache_sizes.h"

#include <unistd.h>

namespace ifast::cpu {
namespace {

[[maybe_unused]] std::size_t ask(int name, std::size_t otherwise) {
  const long bytes = sysconf(name);
  return bytes > 0 ? static_cast<std::size_t>(bytes) : otherwise;
}

CacheSizes read_sizes() {
  CacheSizes sizes;
#ifdef _SC_LEVEL1_DCACHE_SIZE
  sizes.level1 = ask(_SC_LEVEL1_DCACHE_SIZE, sizes.level1);
  sizes.level2 = ask(_SC_LEVEL2_CACHE_SIZE, sizes.level2);
  sizes.level3 = ask(_SC_LEVEL3_CACHE_SIZE, sizes.level3);
#endif
  return sizes;
}

}  // namespace

const CacheSizes& cache_sizes() {
  static const CacheSizes sizes = read_sizes();
  return sizes;
}

}  // namespace ifast::cpu
