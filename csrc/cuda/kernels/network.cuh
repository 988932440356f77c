#pragma once

#include "cuda/tile/run_tile.cuh"

// One launch runs a whole network. Every group of tiles has a counter of those that are finished; a
// tile waits for the groups that hold the pixels it reads, after it has sent for its first weights.
namespace ifast::cuda {

// By all threads of a block: returns when every pixel that a tile of step `index` reads is written.
IFAST_DEVICE void wait_for_producers(const NetworkArguments& arguments, int index, int tile) {
  const Step& step = arguments.steps[index];
  const int batch = arguments.frame.batch;
  const int begin = tile / step.group_tiles * step.group_pixels;
  const int end = begin + step.group_pixels, pixels = batch * step.height * step.width;
  const int first_line = begin / step.width,
            last_line = ((end < pixels ? end : pixels) - 1) / step.width;
  for (int d = arguments.schedule[index].first_dependency;
       d < arguments.schedule[index + 1].first_dependency; ++d) {
    const Dependency& dependency = arguments.dependencies[d];
    const Step& producer = arguments.steps[dependency.producer];
    const auto line = [&](int at, int offset) {
      const int y = at % step.height * dependency.stride + offset;
      const int inside = y < 0 ? 0 : y < producer.height ? y : producer.height - 1;
      return at / step.height * producer.height + inside;
    };
    const int first = line(first_line, dependency.lowest) * producer.width / producer.group_pixels;
    const int last =
        ((line(last_line, dependency.highest) + 1) * producer.width - 1) / producer.group_pixels;
    const unsigned* counters =
        arguments.counters + arguments.schedule[dependency.producer].first_counter;
    for (int group = first + ptx::thread_index(); group <= last; group += kThreads) {
      while (ptx::load_acquire(counters + group) < static_cast<unsigned>(producer.group_tiles)) {
        ptx::pause();
      }
    }
  }
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

template <class Format>
IFAST_KERNEL(kThreads, Format::kNetworkBlocks)
network_kernel(IFAST_ARGUMENTS NetworkArguments arguments) {
  int index = 0;
  for (int tile = ptx::block_index(); tile < arguments.tiles; tile += ptx::grid_size()) {
    while (tile >= arguments.schedule[index + 1].first_tile) ++index;
    const Step& step = arguments.steps[index];
    const NetworkStep& place = arguments.schedule[index];
    const int local = tile - place.first_tile;
    const int whole = place.first_partial == kNoPartials ? local : local / step.segments;
    const bool complete =
        run_tile<Format>(step, arguments.frame, arguments.constants, local, place.first_partial,
                         [&] { wait_for_producers(arguments, index, whole); });
    // The release makes the whole block's stores visible: the barrier orders them before it.
    ptx::block_barrier();
    if (complete && ptx::thread_index() == 0) {
      ptx::add_release(arguments.counters + place.first_counter + whole / step.group_tiles, 1);
    }
  }
  reset_counters(arguments);
}

}  // namespace ifast::cuda
