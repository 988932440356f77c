#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "cpu/base/memory.h"
#include "cpu/conv/packed_weights.h"

namespace ifast::cpu {

// Memory of one call at a time.
struct Workspace {
  Memory arena;
  std::vector<Memory> scratch;  // of each thread

  std::size_t bytes() const;
};

// What executors of one network have in common, whatever the size of their images: packed weights,
// and the memory of calls. Safe to use from several threads.
class NetworkMemory {
 public:
  const std::shared_ptr<WeightPool>& weights() const { return weights_; }
  // What a call that has ended left, or an empty one.
  std::unique_ptr<Workspace> take_workspace();
  void give_back(std::unique_ptr<Workspace> workspace);
  // Of what calls that have ended left.
  std::size_t working_bytes() const;

 private:
  const std::shared_ptr<WeightPool> weights_ = std::make_shared<WeightPool>();
  // One for each call that ran at the same time as others; kept so that later calls allocate
  // nothing.
  std::vector<std::unique_ptr<Workspace>> idle_;
};

}  // namespace ifast::cpu
