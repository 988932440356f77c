#pragma once

namespace ifast::cpu {
namespace {

// Asks for a cache line in order to write it, from whichever processor has it.
inline void prefetch_for_write(const void* line) {
#if defined(__x86_64__)
  // The compiler has this instruction only for targets that are newer than the baseline; it does
  // nothing on processors that do not know it.
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(line)));
#else
  __builtin_prefetch(line, 1);
#endif
}

}  // namespace
}  // namespace ifast::cpu
