#include "emulator/shared_memory.h"

#include <algorithm>
#include <cstring>

namespace ifast::emulator {
namespace {

constexpr std::uint32_t kGranule = 2;  // bytes of the smallest element
constexpr int kWarp = 32;

std::string place(const char* what, std::uint32_t bytes, std::uint32_t address) {
  return std::string(what) + " of " + std::to_string(bytes) + " bytes at shared address " +
         std::to_string(address);
}

}  // namespace

void SharedMemory::reset(std::size_t bytes, int threads) {
  threads_ = threads;
  // 0xff is a NaN in every floating-point format.
  bytes_.assign(bytes, std::byte{0xff});
  granules_.assign((bytes + kGranule - 1) / kGranule, Granule{});
}

SharedMemory::Visit SharedMemory::visit_of(const Access& access) {
  return {access.now, access.arrivals, static_cast<std::int16_t>(access.thread),
          static_cast<std::int16_t>(access.thread / kWarp),
          static_cast<std::int16_t>(access.block)};
}

bool SharedMemory::in_order(const Access& access, const Visit& earlier) {
  return earlier.thread == kNobody || earlier.thread == access.thread ||
         (earlier.block == access.block && earlier.time < access.block_barrier) ||
         (earlier.warp == access.thread / kWarp && earlier.time < access.warp_barrier) ||
         earlier.arrivals < access.waits;
}

std::string SharedMemory::name_of(const Access& access, const Visit& visit) const {
  if (visit.thread == kSeveral) return "other threads";
  const std::string name = "thread " + std::to_string(visit.thread % threads_);
  return visit.block == access.block
             ? name
             : name + " of block " + std::to_string(visit.block) + " of the cluster";
}

std::string SharedMemory::check_range(std::uint32_t address, std::uint32_t bytes,
                                      const char* what) const {
  if (address > bytes_.size() || bytes > bytes_.size() - address) {
    return place(what, bytes, address) + ", past the " + std::to_string(bytes_.size()) +
           " that were declared";
  }
  if (address % std::min(bytes, 16u) != 0) return place(what, bytes, address) + ": not aligned";
  return {};
}

std::string SharedMemory::read(const Access& access, std::uint32_t address, void* to,
                               std::uint32_t bytes) {
  if (std::string wrong = check_range(address, bytes, "read"); !wrong.empty()) return wrong;
  const Visit now = visit_of(access);
  for (std::uint32_t i = address / kGranule; i < (address + bytes) / kGranule; ++i) {
    Granule& g = granules_[i];
    if (g.state != kWritten) {
      return place("read", bytes, address) +
             (g.state == kUnwritten
                  ? ", which nobody wrote"
                  : ", where a cp.async of " + name_of(access, g.write) + " may not have landed");
    }
    if (!in_order(access, g.write)) {
      return place("read", bytes, address) + ", which " + name_of(access, g.write) +
             " wrote with no barrier between";
    }
    // Readers that are in order with this one need not be remembered: whoever writes next and is in
    // order with this one is so with them.
    if (!in_order(access, g.read)) {
      const auto common = [](std::int16_t a, std::int16_t b) { return a == b ? a : kSeveral; };
      g.read = {now.time, std::max(now.arrivals, g.read.arrivals), kSeveral,
                common(now.warp, g.read.warp), common(now.block, g.read.block)};
    } else {
      g.read = now;
    }
  }
  std::memcpy(to, bytes_.data() + address, bytes);
  return {};
}

std::string SharedMemory::check_write(const Access& access, std::uint32_t address,
                                      std::uint32_t bytes) const {
  if (std::string wrong = check_range(address, bytes, "write"); !wrong.empty()) return wrong;
  for (std::uint32_t i = address / kGranule; i < (address + bytes) / kGranule; ++i) {
    const Granule& g = granules_[i];
    if (g.state == kInFlight) {
      return place("write", bytes, address) + ", where a cp.async of " + name_of(access, g.write) +
             " may not have landed";
    }
    const bool after_write = in_order(access, g.write);
    if (!after_write || !in_order(access, g.read)) {
      return place("write", bytes, address) + ", which " +
             name_of(access, after_write ? g.read : g.write) + (after_write ? " read" : " wrote") +
             " with no barrier between";
    }
  }
  return {};
}

std::string SharedMemory::write(const Access& access, std::uint32_t address, const void* from,
                                std::uint32_t bytes) {
  std::string wrong = check_write(access, address, bytes);
  if (wrong.empty()) land_copy(access, address, from, bytes);
  return wrong;
}

std::string SharedMemory::begin_copy(const Access& access, std::uint32_t address,
                                     std::uint32_t bytes) {
  std::string wrong = check_write(access, address, bytes);
  if (!wrong.empty()) return wrong;
  for (std::uint32_t i = address / kGranule; i < (address + bytes) / kGranule; ++i) {
    granules_[i].write = visit_of(access);
    granules_[i].state = kInFlight;
  }
  return {};
}

void SharedMemory::land_copy(const Access& access, std::uint32_t address, const void* from,
                             std::uint32_t bytes) {
  std::memcpy(bytes_.data() + address, from, bytes);
  for (std::uint32_t i = address / kGranule; i < (address + bytes) / kGranule; ++i) {
    granules_[i] = {visit_of(access), {}, kWritten};
  }
}

}  // namespace ifast::emulator
