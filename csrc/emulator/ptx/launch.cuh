#pragma once

#include "emulator/launch.h"

namespace ifast::cuda {

template <class Arguments>
void launch(const char* name, void (*kernel)(Arguments), const Arguments& arguments, int blocks,
            int threads, int shared_bytes, std::uintptr_t, std::span<const Range> memory) {
  emulator::Launch config;
  config.kernel = name;
  config.blocks = blocks;
  config.threads = threads;
  config.shared_bytes = static_cast<std::size_t>(shared_bytes);
  config.memory = memory;
  emulator::run(config, [&] { kernel(arguments); });
}

}  // namespace ifast::cuda
