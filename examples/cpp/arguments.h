#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "inception_fast/engine.h"

inline constexpr const char* kUsage =
    "infer ENGINE INPUT [OUTPUT...] [--backend cpu|cuda|emulator] [--batch N] [--threads N]\n"
    "      [--device N] [--time N]";

// The command line is wrong.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Arguments {
  std::string engine;
  std::string input;
  std::vector<std::string> outputs;
  inception_fast::Options options;
  int batch = 0;  // images of one call; 0 for all
  int time = 0;   // calls to take the time of
};

// Throws UsageError.
Arguments parse_arguments(int argc, const char* const* argv);
