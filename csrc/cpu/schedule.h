#pragma once

#include <cstddef>
#include <vector>

#include "cpu/program.h"

namespace ifast::cpu {

// The tasks of a stage, numbered through its operators, and the part of each thread.
struct StageSchedule {
  std::vector<int> ops;
  std::vector<int> first_task;       // of each operator, and the total
  std::vector<int> first_of_thread;  // and the total
};

// How a Program's work is cut for a batch size and a number of threads.
struct Schedule {
  std::vector<Tiling> tilings;  // of each operator
  std::vector<StageSchedule> stages;
  std::size_t scratch = 0;  // bytes for each thread
};

Schedule make_schedule(const Program& program, int batch, int threads);

}  // namespace ifast::cpu
