#include "cpu/runtime/network_memory.h"

#include <mutex>
#include <utility>

#include "cpu/base/thread_pool.h"

namespace ifast::cpu {

std::size_t Workspace::bytes() const {
  std::size_t total = arena.size();
  for (const Memory& memory : scratch) total += memory.size();
  return total;
}

std::unique_ptr<Workspace> NetworkMemory::take_workspace() {
  {
    const std::lock_guard lock(fork_safe_mutex());
    if (!idle_.empty()) {
      auto workspace = std::move(idle_.back());
      idle_.pop_back();
      return workspace;
    }
  }
  return std::make_unique<Workspace>();
}

void NetworkMemory::give_back(std::unique_ptr<Workspace> workspace) {
  const std::lock_guard lock(fork_safe_mutex());
  idle_.push_back(std::move(workspace));
}

std::size_t NetworkMemory::working_bytes() const {
  const std::lock_guard lock(fork_safe_mutex());
  std::size_t total = 0;
  for (const auto& workspace : idle_) total += workspace->bytes();
  return total;
}

}  // namespace ifast::cpu
