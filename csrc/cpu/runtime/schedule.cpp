#include "cpu/runtime/schedule.h"

#include <algorithm>
#include <cmath>

namespace ifast::cpu {
namespace {

std::vector<Share> share_out(const std::vector<int>& ops, const std::vector<Tiling>& tilings,
                             int threads) {
  std::vector<Share> shares(threads);
  // Cost so far, of everything and of the threads before each one.
  double total = 0;
  std::vector<double> before(threads + 1, 0.0);
  for (int op : ops) {
    const Tiling& tiling = tilings[op];
    const double task = tiling.cost / tiling.tasks;
    total += tiling.cost;
    int begin = 0;
    for (int t = 0; t < threads; ++t) {
      // What makes up for the unevenness of the operators before.
      const double missing = total * (t + 1) / threads - before[t + 1];
      const int end = t + 1 == threads ? tiling.tasks
                                       : std::clamp(static_cast<int>(std::lround(missing / task)),
                                                    begin, tiling.tasks);
      before[t + 1] += end * task;
      if (end > begin) shares[t].parts.push_back({op, begin, end - begin});
      shares[t].tasks += end - begin;
      begin = end;
    }
  }
  return shares;
}

}  // namespace

Schedule make_schedule(const Program& program, int batch, int threads) {
  Schedule schedule;
  for (const auto& op : program.ops) {
    schedule.tilings.push_back(op->tile(batch, threads));
    schedule.scratch = std::max(schedule.scratch, schedule.tilings.back().scratch);
  }
  for (const std::vector<int>& ops : program.stages) {
    schedule.stages.push_back(share_out(ops, schedule.tilings, threads));
  }
  return schedule;
}

}  // namespace ifast::cpu
