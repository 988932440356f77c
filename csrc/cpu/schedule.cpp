#include "cpu/schedule.h"

#include <algorithm>

namespace ifast::cpu {

Schedule make_schedule(const Program& program, int batch, int threads) {
  Schedule schedule;
  for (const auto& op : program.ops) {
    schedule.tilings.push_back(op->tile(batch, threads));
    schedule.scratch = std::max(schedule.scratch, schedule.tilings.back().scratch);
  }
  for (const std::vector<int>& ops : program.stages) {
    StageSchedule stage;
    stage.ops = ops;
    double total = 0;
    for (int op : ops) total += schedule.tilings[op].cost;
    // A thread's part ends with the task that fills its share of the cost.
    int task = 0;
    double cost = 0;
    stage.first_of_thread.push_back(0);
    for (int op : ops) {
      const Tiling& tiling = schedule.tilings[op];
      stage.first_task.push_back(task);
      for (int i = 0; i < tiling.tasks; ++i) {
        const double middle = cost + tiling.cost / tiling.tasks / 2;
        while (middle > total / threads * stage.first_of_thread.size()) {
          stage.first_of_thread.push_back(task);
        }
        cost += tiling.cost / tiling.tasks;
        ++task;
      }
    }
    stage.first_task.push_back(task);
    stage.first_of_thread.resize(threads + 1, task);
    schedule.stages.push_back(std::move(stage));
  }
  return schedule;
}

}  // namespace ifast::cpu
