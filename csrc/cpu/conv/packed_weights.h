#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cpu/base/memory.h"

namespace ifast::cpu {

// The constants of one operator in the form that its kernels read. Never changes once it is whole.
struct PackedWeights {
  std::vector<const float*> arrays;                   // in the order in which they were packed
  std::vector<std::shared_ptr<const Memory>> blocks;  // that they lie in
  std::size_t bytes = 0;
};

// Finds the packed weights that some executor has, by what they were packed from and how. They live
// as long as an executor uses them. Safe to use from several threads.
class WeightPool {
 public:
  // Null where no executor has them.
  std::shared_ptr<const PackedWeights> find(const std::string& key) const;
  void add(const std::string& key, const std::shared_ptr<const PackedWeights>& weights);

 private:
  std::map<std::string, std::weak_ptr<const PackedWeights>> known_;
};

// The packed weights of one executor. New ones are cache-line aligned pieces of large blocks, in
// the order of their use.
class WeightStore {
 public:
  // pool: where to look for weights, and to put new ones, if anywhere. block: bytes that are taken
  // from the system at least.
  explicit WeightStore(std::shared_ptr<WeightPool> pool = nullptr,
                       std::size_t block = std::size_t{32} << 20)
      : pool_(std::move(pool)), block_(block) {}

  const std::vector<std::shared_ptr<const PackedWeights>>& weights() const { return weights_; }

 private:
  friend class Packer;

  float* take(std::size_t count, PackedWeights& owner);

  std::shared_ptr<WeightPool> pool_;
  std::size_t block_;
  std::shared_ptr<const Memory> last_;  // block
  std::size_t used_ = 0;                // of the last block
  std::vector<std::shared_ptr<const PackedWeights>> weights_;
};

// Packs the constants of one operator into a store, or finds in its pool what an operator like it
// has packed.
class Packer {
 public:
  // key: names what the constants are and how they are packed: equal keys, equal arrays. Empty
  // where nothing is to be shared.
  Packer(WeightStore& store, std::string key);

  // The next array: `count` floats on a cache line, which fill(float*) writes unless they are
  // there.
  template <class Fill>
  const float* array(std::size_t count, Fill fill) {
    if (found_) return found_->arrays[next_++];
    float* values = store_.take(count, *made_);
    fill(values);
    return values;
  }
  // After the last array.
  void finish();

 private:
  WeightStore& store_;
  const std::string key_;
  std::shared_ptr<const PackedWeights> found_;
  std::shared_ptr<PackedWeights> made_;
  std::size_t next_ = 0;
};

}  // namespace ifast::cpu
