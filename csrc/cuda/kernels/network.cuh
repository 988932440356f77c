#pragma once

#include "cuda/tile/run_tile.cuh"

// One launch runs a whole network. Every group of tiles has a counter of those that are finished; a
// tile waits for the groups that hold the pixels it reads, after it has sent for its first weights.
namespace ifast::cuda {

// Looks at one counter, five seconds and more of them. Something is broken then, and a launch that
// fails says so, where one that hangs takes the device with it.
inline constexpr int kMostLooks = 1 << 23;

IFAST_DEVICE void wait_for_count(const unsigned* counter, unsigned count) {
  for (int look = 0; ptx::load_relaxed(counter) < count; ++look) {
    if (look == kMostLooks) ptx::trap();
    ptx::pause();
  }
}

// By all threads of a block: returns when every pixel that a tile of step `index` reads is written.
// Each dependency is a warp's, each of its counters a lane's. They look at counters without an
// order, which leaves the cache as it is, and make one once all are high enough.
IFAST_DEVICE void wait_for_producers(const NetworkArguments& arguments, int index, int tile) {
  constexpr int kLanes = 32;
  const int warp = ptx::thread_index() / kLanes, lane = ptx::thread_index() % kLanes;
  const Record<Step> step(arguments.steps + index);
  const Record<NetworkStep> place(arguments.schedule + index), next(arguments.schedule + index + 1);
  const int width = step[&Step::width], height = step[&Step::height];
  const Cut cut = place[&NetworkStep::cut];
  const int group_pixels = cut.group_pixels, begin = tile / cut.group_tiles * group_pixels;
  const int end = begin + group_pixels, pixels = arguments.bindings.batch * height * width;
  const int first_line = begin / width, last_line = ((end < pixels ? end : pixels) - 1) / width;
  const int last_dependency = next[&NetworkStep::first_dependency];
  bool waited = false;
  for (int d = place[&NetworkStep::first_dependency] + warp; d < last_dependency;
       d += kThreads / kLanes) {
    const Dependency dependency = ptx::load_record(arguments.dependencies + d);
    const Record<Step> producer(arguments.steps + dependency.producer);
    const int producer_height = producer[&Step::height], producer_width = producer[&Step::width];
    const Record<NetworkStep> schedule(arguments.schedule + dependency.producer);
    const Cut producer_cut = schedule[&NetworkStep::cut];
    const int producer_pixels = producer_cut.group_pixels;
    const auto complete = static_cast<unsigned>(producer_cut.group_tiles);
    const auto line = [&](int at, int offset) {
      const int y = at % height * dependency.stride + offset;
      const int inside = y < 0 ? 0 : y < producer_height ? y : producer_height - 1;
      return at / height * producer_height + inside;
    };
    const int first = line(first_line, dependency.lowest) * producer_width / producer_pixels;
    const int last =
        ((line(last_line, dependency.highest) + 1) * producer_width - 1) / producer_pixels;
    const unsigned* counters = arguments.counters + schedule[&NetworkStep::first_counter];
    for (int group = first + lane; group <= last; group += kLanes) {
      wait_for_count(counters + group, complete);
    }
    waited = true;
  }
  // Of the warps that looked; the barrier orders the others behind them.
  if (waited) ptx::fence();
  ptx::block_barrier();
}

// The last block to finish leaves the counters at zero for the next launch.
IFAST_DEVICE void reset_counters(const NetworkArguments& arguments) {
  unsigned* finished = arguments.counters + arguments.counter_count;
  const std::uint32_t shared = ptx::shared_memory();
  if (ptx::thread_index() == 0) {
    const unsigned before = ptx::add_acquire_release(finished, 1);
    const bool last = before == static_cast<unsigned>(ptx::grid_size()) - 1;
    ptx::store_shared_vector(shared, {{last, 0, 0, 0}});
  }
  ptx::block_barrier();
  if (ptx::load_shared_vector(shared).word[0] == 0) return;
  for (int i = ptx::thread_index(); i <= arguments.counter_count; i += kThreads) {
    ptx::store_global(arguments.counters + i, 0u);
  }
}

struct NetworkTurn {
  const NetworkArguments& arguments;
  int index, tile;
  TileTrace own_trace;

  IFAST_DEVICE void wait() const {
    wait_for_producers(arguments, index, tile);
    own_trace.mark_first(&TileRecord::ready);
  }
  IFAST_DEVICE void summed() const {}
  IFAST_DEVICE const TileTrace& trace() const { return own_trace; }
};

template <class Format>
IFAST_KERNEL(kThreads, Format::kNetworkBlocks)
network_kernel(IFAST_ARGUMENTS NetworkArguments arguments) {
  const auto first_tile = [&](int index) {
    return Record<NetworkStep>(arguments.schedule + index)[&NetworkStep::first_tile];
  };
  int index = 0;
  for (int tile = ptx::block_index(); tile < arguments.tiles; tile += ptx::grid_size()) {
    while (tile >= first_tile(index + 1)) ++index;
    const Record<Step> step(arguments.steps + index);
    const NetworkStep place = ptx::load_record(arguments.schedule + index);
    const int local = tile - place.first_tile;
    const int whole = place.first_partial == kNoPartials ? local : local / step[&Step::segments];
    const TileTrace trace(arguments.bindings, tile);
    trace.start(index, local);
    const bool complete = run_tile<Format, KernelKind::kNetwork>(
        step, place.cut, arguments.bindings, arguments.constants, local, place.first_partial,
        NetworkTurn{arguments, index, whole, trace});
    trace.finish();
    // The release makes the whole block's stores visible: the barrier orders them before it.
    ptx::block_barrier();
    if (complete && ptx::thread_index() == 0) {
      const int group = whole / place.cut.group_tiles;
      ptx::add_release(arguments.counters + place.first_counter + group, 1);
    }
  }
  reset_counters(arguments);
}

}  // namespace ifast::cuda
