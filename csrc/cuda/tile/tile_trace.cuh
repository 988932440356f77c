#pragma once

#include "cuda/launch/steps.h"
#include "ptx/memory.cuh"
#include "ptx/sync.cuh"
#include "ptx/timer.cuh"

namespace ifast::cuda {

// Writes when a block got how far with a tile, where the call asks for that. Otherwise there is a
// comparison at each of a few places outside of loops over K, and nothing to remember: the address
// of the record is taken from the kernel's arguments anew each time. Of a block's threads the first
// writes.
class TileTrace {
 public:
  using Point = std::uint64_t TileRecord::*;

  // `index` is the launch's tile.
  IFAST_DEVICE TileTrace(const Bindings& bindings, int index)
      : bindings_(bindings), index_(index) {}

  IFAST_DEVICE bool on() const { return bindings_.records != nullptr; }

  IFAST_DEVICE void start(int step, int tile) const {
    if (!writes()) return;
    TileRecord* const record = bindings_.records + index_;
    ptx::store_global(&record->step, step);
    ptx::store_global(&record->tile, tile);
    ptx::store_global(&record->multiprocessor, ptx::multiprocessor());
    ptx::store_global(&record->start, ptx::nanoseconds());
  }

  // The last time that the block gets there counts.
  IFAST_DEVICE void mark(Point point) const {
    if (writes()) ptx::store_global(&(bindings_.records[index_].*point), ptx::nanoseconds());
  }

  // The first time counts.
  IFAST_DEVICE void mark_first(Point point) const {
    if (!writes()) return;
    std::uint64_t* const time = &(bindings_.records[index_].*point);
    if (ptx::load_global(time) == 0) ptx::store_global(time, ptx::nanoseconds());
  }

  // By all threads, none of which touches the tile any more.
  IFAST_DEVICE void finish() const {
    if (!on()) return;
    ptx::block_barrier();
    mark(&TileRecord::done);
  }

 private:
  IFAST_DEVICE bool writes() const { return on() && ptx::thread_index() == 0; }

  const Bindings& bindings_;
  const int index_;
};

}  // namespace ifast::cuda
