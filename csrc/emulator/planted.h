#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ifast::emulator {

// Small kernels, each with one mistake that can be planted in it.
std::vector<std::string> planted_names();

// Runs one of them, with its mistake or without, and returns what it computed. Throws Fault where
// the emulator finds something.
std::vector<std::uint32_t> run_planted(const std::string& name, bool mistake);

}  // namespace ifast::emulator
