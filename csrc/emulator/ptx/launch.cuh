#pragma once

#include <cstdint>
#include <span>

#include "emulator/launch.h"

namespace ifast::cuda {

template <class Arguments>
void launch(const char* name, void (*kernel)(Arguments), const Arguments& arguments,
            const Grid& grid, std::uintptr_t, std::span<const Range> memory) {
  emulator::Launch config;
  config.kernel = name;
  config.blocks = grid.blocks;
  config.threads = grid.threads;
  config.shared_bytes = static_cast<std::size_t>(grid.shared_bytes);
  config.memory = memory;
  config.cluster = grid.cluster;
  config.resident = grid.resident;
  config.overlaps = grid.overlaps;
  config.multiprocessors = emulator::limits().multiprocessors;
  emulator::run(config, [&] { kernel(arguments); });
}

template <class Arguments>
int resident_blocks(const char*, void (*)(Arguments), int, int, int limit) {
  return limit == 0 ? emulator::resident_blocks() : limit * emulator::limits().multiprocessors;
}

}  // namespace ifast::cuda
