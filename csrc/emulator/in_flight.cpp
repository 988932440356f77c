#include "emulator/in_flight.h"

#include <cstdint>
#include <cstring>
#include <new>

namespace ifast::emulator {
namespace {

std::uintptr_t number(const void* address) { return reinterpret_cast<std::uintptr_t>(address); }

}  // namespace

void InFlight::Free::operator()(std::byte* memory) const {
  operator delete(memory, std::align_val_t{kAlignment});
}

InFlight::Before InFlight::begin(const Launch& launch) {
  if (!launch.overlaps) finish();
  Before before{{}, gap_};
  for (const Range& range : launch.memory) {
    const Copy* copy = find(launch, range);
    if (copy == nullptr && range.writable) copy = &add(range);
    before.offsets.push_back(copy == nullptr ? 0 : number(copy->copy) - number(copy->begin));
  }
  return before;
}

void InFlight::end(const Launch& launch, bool waited) {
  if (launch.overlaps && !waited && gap_.empty()) gap_ = launch.kernel;
}

void InFlight::finish() {
  for (const Copy& copy : copies_) std::memcpy(copy.begin, copy.copy, copy.bytes);
  copies_.clear();
  gap_.clear();
}

const InFlight::Copy* InFlight::find(const Launch& launch, const Range& range) const {
  const std::uintptr_t begin = number(range.begin), end = begin + range.bytes;
  for (const Copy& copy : copies_) {
    const std::uintptr_t first = number(copy.begin), last = first + copy.bytes;
    if (end <= first || last <= begin) continue;
    if (range.settled) {
      throw Fault("kernel " + launch.kernel +
                  ": takes for settled what launches write that may not have finished");
    }
    if (begin < first || last < end) {
      throw Fault("kernel " + launch.kernel +
                  ": its memory is part of an earlier launch's and part of none");
    }
    return &copy;
  }
  return nullptr;
}

const InFlight::Copy& InFlight::add(const Range& range) {
  auto* const begin = static_cast<std::byte*>(const_cast<void*>(range.begin));
  const std::size_t shift = number(begin) % kAlignment;
  std::unique_ptr<std::byte, Free> allocation(
      static_cast<std::byte*>(operator new(range.bytes + shift, std::align_val_t{kAlignment})));
  std::byte* const copy = allocation.get() + shift;
  std::memcpy(copy, begin, range.bytes);
  return copies_.emplace_back(begin, range.bytes, std::move(allocation), copy);
}

}  // namespace ifast::emulator
