#include "emulator/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace ifast::emulator {

#if defined(__x86_64__)

// The System V ABI's callee-saved registers; the control words of the floating-point units are
// those of the process throughout.
asm(R"(
.text
.p2align 4
.local ifast_switch_context
.type ifast_switch_context, @function
ifast_switch_context:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq (%rsi), %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size ifast_switch_context, .-ifast_switch_context
)");
extern "C" void ifast_switch_context(void** from, void** to);

void switch_context(Context& from, Context& to) { ifast_switch_context(&from.state, &to.state); }

void start_context(Context& context, std::byte* stack, std::size_t size, void (*entry)()) {
  auto* top = reinterpret_cast<std::uintptr_t*>(stack + size);
  // At entry the stack pointer is 8 below a multiple of 16, as after a call; the word there is
  // where entry would return to.
  *--top = 0;
  *--top = reinterpret_cast<std::uintptr_t>(entry);
  for (int i = 0; i < 6; ++i) *--top = 0;
  context.state = top;
}

void end_context(Context&) {}

#else

void switch_context(Context& from, Context& to) {
  if (from.state == nullptr) from.state = new ucontext_t;
  swapcontext(static_cast<ucontext_t*>(from.state), static_cast<ucontext_t*>(to.state));
}

void start_context(Context& context, std::byte* stack, std::size_t size, void (*entry)()) {
  if (context.state == nullptr) context.state = new ucontext_t;
  auto* state = static_cast<ucontext_t*>(context.state);
  getcontext(state);
  state->uc_stack.ss_sp = stack;
  state->uc_stack.ss_size = size;
  state->uc_link = nullptr;
  makecontext(state, entry, 0);
}

void end_context(Context& context) {
  delete static_cast<ucontext_t*>(context.state);
  context.state = nullptr;
}

#endif

namespace {
constexpr std::size_t kGuard = 4 << 10;
constexpr std::size_t kStep = Stacks::kSize + kGuard;
}  // namespace

Stacks::Stacks(int count) : bytes_(static_cast<std::size_t>(count) * kStep) {
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<std::byte*>(memory);
  for (int i = 0; i < count; ++i) mprotect(memory_ + i * kStep, kGuard, PROT_NONE);
}

Stacks::~Stacks() { munmap(memory_, bytes_); }

std::byte* Stacks::operator[](int index) const { return memory_ + index * kStep + kGuard; }

}  // namespace ifast::emulator
