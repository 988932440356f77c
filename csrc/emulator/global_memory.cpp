#include "emulator/global_memory.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace ifast::emulator {
namespace {

constexpr std::size_t kGranule = 2;  // bytes of the smallest element

void join(std::vector<std::uint32_t>& to, const std::vector<std::uint32_t>& from) {
  if (to.empty()) {
    to = from;
    return;
  }
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = std::max(to[i], from[i]);
}

std::uintptr_t number(const void* address) { return reinterpret_cast<std::uintptr_t>(address); }

}  // namespace

void GlobalMemory::Free::operator()(Writer* memory) const { std::free(memory); }

GlobalMemory::GlobalMemory(std::span<const cuda::Range> ranges,
                           std::span<const std::ptrdiff_t> offsets, int blocks)
    : ranges_(ranges), offsets_(offsets), blocks_(blocks) {
  for (const cuda::Range& range : ranges) {
    const std::size_t count = range.writable && blocks > 1 ? range.bytes / kGranule + 2 : 0;
    auto* memory = static_cast<Writer*>(count == 0 ? nullptr : std::calloc(count, sizeof(Writer)));
    if (count != 0 && memory == nullptr) throw std::bad_alloc();
    writers_.emplace_back(memory);
  }
}

const cuda::Range* GlobalMemory::find(const void* address, std::size_t bytes) const {
  for (const cuda::Range& range : ranges_) {
    const std::uintptr_t offset = number(address) - number(range.begin);
    if (offset < range.bytes) return bytes <= range.bytes - offset ? &range : nullptr;
  }
  return nullptr;
}

void* GlobalMemory::place(const cuda::Range& range, const void* address) const {
  return reinterpret_cast<void*>(number(address) + offsets_[&range - ranges_.data()]);
}

std::span<GlobalMemory::Writer> GlobalMemory::writers_of(const cuda::Range& range,
                                                         const void* address,
                                                         std::size_t bytes) const {
  Writer* const writers = writers_[&range - ranges_.data()].get();
  if (writers == nullptr) return {};
  const std::size_t begin = number(address) - number(range.begin), end = begin + bytes;
  return {writers + begin / kGranule, writers + (end + kGranule - 1) / kGranule};
}

std::string GlobalMemory::conflict(const BlockClock& clock, std::uint64_t writer, std::size_t bytes,
                                   const char* what) {
  const auto block = static_cast<std::uint32_t>(writer >> 32);
  if (block == 0 || block == clock.block + 1) return {};
  const std::uint32_t known = clock.known.empty() ? 0 : clock.known[block - 1];
  if (static_cast<std::uint32_t>(writer) <= known) return {};
  return std::string(what) + " of " + std::to_string(bytes) +
         " bytes of global memory, which block " + std::to_string(block - 1) +
         " wrote in the same launch with no release and acquire between";
}

std::string GlobalMemory::read(const BlockClock& clock, const cuda::Range& range,
                               const void* address, std::size_t bytes) const {
  for (const Writer& writer : writers_of(range, address, bytes)) {
    std::string wrong = conflict(clock, writer.load(std::memory_order_relaxed), bytes, "read");
    if (!wrong.empty()) return wrong;
  }
  return {};
}

std::string GlobalMemory::write(const BlockClock& clock, const cuda::Range& range,
                                const void* address, std::size_t bytes) {
  const std::uint64_t now = std::uint64_t{clock.block + 1} << 32 | clock.releases;
  for (Writer& writer : writers_of(range, address, bytes)) {
    const std::uint64_t before = writer.exchange(now, std::memory_order_relaxed);
    std::string wrong = conflict(clock, before, bytes, "write");
    if (!wrong.empty()) return wrong;
  }
  return {};
}

void GlobalMemory::release(BlockClock& clock, const unsigned* counter) {
  const std::lock_guard lock(mutex_);
  std::vector<std::uint32_t>& seen = counters_[counter];
  seen.resize(static_cast<std::size_t>(blocks_));
  if (!clock.known.empty()) join(seen, clock.known);
  seen[clock.block] = clock.releases++;
}

void GlobalMemory::acquire(BlockClock& clock, const unsigned* counter) {
  observe(clock.known, counter);
}

void GlobalMemory::observe(std::vector<std::uint32_t>& observed, const unsigned* counter) {
  const std::lock_guard lock(mutex_);
  const auto found = counters_.find(counter);
  if (found != counters_.end()) join(observed, found->second);
}

void GlobalMemory::fence(BlockClock& clock, std::vector<std::uint32_t>& observed) {
  if (!observed.empty()) join(clock.known, observed);
  observed.clear();
}

}  // namespace ifast::emulator
