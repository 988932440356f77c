#pragma once

#include <stdexcept>

namespace ifast::emulator {

// A mistake of the kernel that a GPU need not notice: the message names the kernel, the block, the
// thread, and what it did.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace ifast::emulator
