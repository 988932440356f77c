#pragma once

#include <cstddef>
#include <vector>

namespace ifast::emulator {

// Where a thread of control that does not run now goes on.
struct Context {
  void* state = nullptr;
};

// Saves the caller in `from` and goes on at `to`; returns when somebody switches to `from`.
void switch_context(Context& from, Context& to);

// A context that starts in entry() on the given stack; entry never returns. `stack` is the lowest
// address, and the context must not be moved once it has run.
void start_context(Context& context, std::byte* stack, std::size_t size, void (*entry)());

// What start_context allocated beyond the stack.
void end_context(Context& context);

// Stacks for many contexts in one mapping, each above a page that must not be touched.
class Stacks {
 public:
  explicit Stacks(int count);
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  std::byte* operator[](int index) const;
  static constexpr std::size_t kSize = 60 << 10;

 private:
  std::byte* memory_;
  std::size_t bytes_;
};

}  // namespace ifast::emulator
