#include "emulator/shared_memory.h"

#include <algorithm>
#include <cstring>

namespace ifast::emulator {
namespace {

constexpr std::uint32_t kGranule = 2;  // bytes of the smallest element
constexpr std::int16_t kSeveral = -2;
constexpr int kWarp = 32;

bool in_order(const Access& access, std::uint32_t time, int warp) {
  return time < access.block_barrier ||
         (warp == access.thread / kWarp && time < access.warp_barrier);
}

std::string place(const char* what, std::uint32_t bytes, std::uint32_t address) {
  return std::string(what) + " of " + std::to_string(bytes) + " bytes at shared address " +
         std::to_string(address);
}

std::string thread_name(int thread) {
  return thread == kSeveral ? "other threads" : "thread " + std::to_string(thread);
}

}  // namespace

void SharedMemory::reset(std::size_t bytes) {
  // 0xff is a NaN in every floating-point format.
  bytes_.assign(bytes, std::byte{0xff});
  granules_.assign((bytes + kGranule - 1) / kGranule, Granule{0, 0, -1, -1, -1, kUnwritten});
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
  const auto warp = static_cast<std::int16_t>(access.thread / kWarp);
  for (std::uint32_t i = address / kGranule; i < (address + bytes) / kGranule; ++i) {
    Granule& g = granules_[i];
    if (g.state != kWritten) {
      return place("read", bytes, address) +
             (g.state == kUnwritten
                  ? ", which nobody wrote"
                  : ", where a cp.async of " + thread_name(g.writer) + " may not have landed");
    }
    if (g.writer != access.thread && !in_order(access, g.write_time, g.writer / kWarp)) {
      return place("read", bytes, address) + ", which " + thread_name(g.writer) +
             " wrote with no barrier between";
    }
    // Readers that a barrier has put in order with whoever writes next need not be remembered.
    const bool alone = g.reader == -1 || g.read_time < access.block_barrier;
    g.reader =
        alone || g.reader == access.thread ? static_cast<std::int16_t>(access.thread) : kSeveral;
    g.reader_warp = alone || g.reader_warp == warp ? warp : kSeveral;
    g.read_time = access.now;
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
      return place("write", bytes, address) + ", where a cp.async of " + thread_name(g.writer) +
             " may not have landed";
    }
    if (g.state == kWritten && g.writer != access.thread &&
        !in_order(access, g.write_time, g.writer / kWarp)) {
      return place("write", bytes, address) + ", which " + thread_name(g.writer) +
             " wrote with no barrier between";
    }
    if (g.reader != -1 && g.reader != access.thread &&
        !in_order(access, g.read_time, g.reader_warp)) {
      return place("write", bytes, address) + ", which " + thread_name(g.reader) +
             " read with no barrier between";
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
    granules_[i].writer = static_cast<std::int16_t>(access.thread);
    granules_[i].state = kInFlight;
  }
  return {};
}

void SharedMemory::land_copy(const Access& access, std::uint32_t address, const void* from,
                             std::uint32_t bytes) {
  std::memcpy(bytes_.data() + address, from, bytes);
  for (std::uint32_t i = address / kGranule; i < (address + bytes) / kGranule; ++i) {
    granules_[i] = {access.now, 0, static_cast<std::int16_t>(access.thread), -1, -1, kWritten};
  }
}

}  // namespace ifast::emulator
