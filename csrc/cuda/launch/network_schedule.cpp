#include "cuda/launch/network_schedule.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "cuda/launch/placement.h"

namespace ifast::cuda {
namespace {

// Input rows that an output row y needs: from y * stride + lowest to y * stride + highest.
struct Reach {
  int stride;
  int lowest;
  int highest;
};

std::vector<Target> targets_of(const Program& program, const Step& step) {
  std::vector<Target> targets(step.target_count);
  std::memcpy(targets.data(), program.constants.data() + step.targets,
              targets.size() * sizeof(Target));
  return targets;
}

Reach reach_of_source(const Program& program, const Step& step) {
  const Reach whole{0, 0, step.source.height - 1};
  switch (step.kind) {
    case Kind::kConv:
    case Kind::kPair:
    case Kind::kDepthwise: {
      std::vector<Extent> taps(step.tap_count);
      std::memcpy(taps.data(), program.constants.data() + step.taps, taps.size() * sizeof(Extent));
      const auto [low, high] = std::ranges::minmax_element(taps, {}, &Extent::vertical);
      return {step.stride.vertical, low->vertical, high->vertical};
    }
    case Kind::kMaxPool:
    case Kind::kAveragePool:
      if (step.adaptive) return whole;
      return {step.stride.vertical, -step.padding.vertical,
              step.kernel.vertical - 1 - step.padding.vertical};
    case Kind::kResize:
      return whole;
    case Kind::kPad:
      return {1, -step.padding.vertical, -step.padding.vertical};
    case Kind::kPointwise:
    case Kind::kGate:
    case Kind::kLocalResponse:
    case Kind::kNormalize:
    case Kind::kSoftmax:
      return {1, 0, 0};
  }
  throw std::logic_error("a kind of step that is none");
}

int shared_channels(const View& a, const View& b) {
  if (a.base != b.base || a.offset != b.offset) return 0;
  return std::max(
      0, std::min(a.start + a.channels, b.start + b.channels) - std::max(a.start, b.start));
}

void add_dependencies(const Program& program, int reader, const View& view, Reach reach,
                      std::vector<Dependency>& dependencies) {
  if (view.base < 0 || view.base == kInputBase) return;
  int covered = 0;
  for (int i = 0; i < reader; ++i) {
    int shared = 0;
    for (const Target& target : targets_of(program, program.steps[i])) {
      shared += shared_channels(view, target.view);
    }
    if (shared == 0) continue;
    covered += shared;
    dependencies.push_back({i, reach.stride, reach.lowest, reach.highest});
  }
  if (covered != view.channels) {
    throw EngineError("step " + program.names[reader] + ": reads what no earlier step writes");
  }
}

}  // namespace

NetworkSchedule schedule_network(const Program& program) {
  NetworkSchedule schedule;
  for (int i = 0; i < static_cast<int>(program.steps.size()); ++i) {
    const Step& step = program.steps[i];
    schedule.first_dependency.push_back(static_cast<int>(schedule.dependencies.size()));
    add_dependencies(program, i, step.source, reach_of_source(program, step),
                     schedule.dependencies);
    // A gate of one pixel is its only row, whichever is asked for.
    add_dependencies(program, i, step.other, {1, 0, 0}, schedule.dependencies);
  }
  schedule.first_dependency.push_back(static_cast<int>(schedule.dependencies.size()));
  return schedule;
}

std::vector<NetworkStep> place_tiles(const Program& program, const NetworkSchedule& schedule,
                                     int batch) {
  std::vector<NetworkStep> steps;
  std::int64_t tiles = 0, counters = 0, partials = 0;
  for (const StageLaunch& launch : program.launches) {
    const Placement placement = place_blocks(program, launch, batch);
    for (int i = 0; i < launch.count; ++i) {
      const int index = launch.first_step + i, partial = placement.first_partial[i];
      steps.push_back({static_cast<int>(tiles + placement.first_block[i]),
                       static_cast<int>(counters),
                       partial == kNoPartials ? kNoPartials : static_cast<int>(partials + partial),
                       schedule.first_dependency[index], placement.cuts[i]});
      counters += groups_of(program.steps[index], placement.cuts[i], batch);
    }
    tiles += placement.first_block.back();
    partials += placement.partials;
    // There are at most as many counters and partials.
    if (tiles > std::numeric_limits<int>::max()) {
      throw std::invalid_argument("batch: got " + std::to_string(batch) + ", too many tiles for " +
                                  program.names[launch.first_step]);
    }
  }
  steps.push_back({static_cast<int>(tiles), static_cast<int>(counters), static_cast<int>(partials),
                   schedule.first_dependency.back(), Cut{}});
  return steps;
}

}  // namespace ifast::cuda
