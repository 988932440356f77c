#pragma once

#include <cstddef>
#include <vector>

#include "cpu/runtime/program.h"

namespace ifast::cpu {

// Tasks [first, first + count) of an operator.
struct Part {
  int op;
  int first;
  int count;
};

// What one thread does in a stage.
struct Share {
  std::vector<Part> parts;
  int tasks = 0;  // of all parts
};

// How a Program's work is cut for a batch size and a number of threads.
struct Schedule {
  std::vector<Tiling> tilings;             // of each operator
  std::vector<std::vector<Share>> stages;  // [stage][thread]
  std::size_t scratch = 0;                 // bytes for each thread
};

// Every operator is cut among all threads, in the order of its tasks: a thread then mostly reads
// what it wrote itself a stage before, which matters where threads share no cache.
Schedule make_schedule(const Program& program, int batch, int threads);

}  // namespace ifast::cpu
