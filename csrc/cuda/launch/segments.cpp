#include "cuda/launch/segments.h"

#include <algorithm>
#include <cstdint>

#include "cuda/launch/launch_work.h"

namespace ifast::cuda {
namespace {

// Of the time, that more segments must save: they cost memory, and traffic in large batches.
constexpr double kWorth = 0.01;

// Of one image, of the base shape.
std::int64_t base_tiles(const Step& step) {
  const Cut cut = cut_of(step, kBaseShape);
  return groups_of(step, cut, 1) * cut.group_tiles;
}

// Segments of at least `share` chunks. Returns whether any step's have changed.
bool cut(const std::vector<Step*>& steps, std::int64_t share) {
  bool changed = false;
  for (Step* step : steps) {
    if (step->kind != Kind::kConv) continue;
    const int segments = static_cast<int>(std::max<std::int64_t>(1, step->chunks / share));
    const int segment_chunks = divide_up(step->chunks, segments);
    changed |= segment_chunks != step->segment_chunks;
    step->segment_chunks = segment_chunks;
    step->segments = divide_up(step->chunks, segment_chunks);
  }
  return changed;
}

// Tiles of one image, weighted.
template <class Weight>
std::int64_t sum_over_tiles(const std::vector<Step*>& steps, const Weight& weight) {
  std::int64_t sum = 0;
  for (const Step* step : steps) {
    if (step->kind == Kind::kConv) sum += base_tiles(*step) * weight(*step);
  }
  return sum;
}

void fill_waves(const std::vector<Step*>& steps, int multiprocessors,
                const LaunchOptions& options) {
  const int waves = options.waves == 0 ? kUsualWaves : options.waves;
  const int shortest = options.shortest == 0 ? kUsualShortest : options.shortest;
  const std::int64_t blocks = std::int64_t{multiprocessors} * waves;
  if (sum_over_tiles(steps, [](const Step&) { return 1; }) >= blocks) return;
  const std::int64_t chunks = sum_over_tiles(steps, [](const Step& step) { return step.chunks; });
  cut(steps,
      std::max<std::int64_t>(divide_up(shortest, kChunkBytes), (chunks + blocks - 1) / blocks));
}

double time_of(const std::vector<Step*>& steps, const MachineConstants& machine,
               Precision precision) {
  LaunchWork work;
  for (const Step* step : steps) {
    if (step->kind != Kind::kConv) continue;
    work.steps.push_back(
        convolution_work(*step, kShapes[kBaseShape], 1, step->segments > 1, precision));
  }
  const LaunchTime time = predict(work, machine, {});
  return time.total - time.hand_over;
}

// From whole sums to ever shorter segments.
void shorten(const std::vector<Step*>& steps, int multiprocessors, Precision precision,
             MachineConstants machine) {
  machine.multiprocessors = multiprocessors;
  int longest = 1;
  for (const Step* step : steps) longest = std::max(longest, step->chunks);
  int best = longest;
  double shortest = time_of(steps, machine, precision);
  for (int share = longest - 1; share > 0; --share) {
    if (!cut(steps, share)) continue;
    const std::int64_t blocks =
        sum_over_tiles(steps, [](const Step& step) { return step.segments; });
    if (!has_room(static_cast<double>(blocks), multiprocessors)) break;
    const double time = time_of(steps, machine, precision);
    if (time >= shortest * (1 - kWorth)) continue;
    shortest = time;
    best = share;
  }
  cut(steps, best);
}

}  // namespace

void choose_segments(const std::vector<Step*>& steps, int multiprocessors, Precision precision,
                     const LaunchOptions& options) {
  if (options.waves != 0 || options.shortest != 0) {
    fill_waves(steps, multiprocessors, options);
  } else {
    shorten(steps, multiprocessors, precision, options.machine);
  }
}

}  // namespace ifast::cuda
