#include "cpu/conv/packed_weights.h"

#include <algorithm>
#include <mutex>

#include "cpu/base/thread_pool.h"

namespace ifast::cpu {

std::shared_ptr<const PackedWeights> WeightPool::find(const std::string& key) const {
  const std::lock_guard lock(fork_safe_mutex());
  const auto found = known_.find(key);
  return found == known_.end() ? nullptr : found->second.lock();
}

void WeightPool::add(const std::string& key, const std::shared_ptr<const PackedWeights>& weights) {
  const std::lock_guard lock(fork_safe_mutex());
  std::erase_if(known_, [](const auto& entry) { return entry.second.expired(); });
  known_[key] = weights;
}

float* WeightStore::take(std::size_t count, PackedWeights& owner) {
  const std::size_t bytes = (count * sizeof(float) + kCacheLine - 1) / kCacheLine * kCacheLine;
  if (!last_ || last_->size() - used_ < bytes) {
    last_ = std::make_shared<Memory>(std::max(bytes, block_));
    used_ = 0;
  }
  if (owner.blocks.empty() || owner.blocks.back() != last_) owner.blocks.push_back(last_);
  auto* piece = reinterpret_cast<float*>(last_->data() + used_);
  used_ += bytes;
  owner.bytes += bytes;
  owner.arrays.push_back(piece);
  return piece;
}

Packer::Packer(WeightStore& store, std::string key)
    : store_(store), key_(store.pool_ ? std::move(key) : std::string()) {
  if (!key_.empty()) found_ = store.pool_->find(key_);
  if (!found_) made_ = std::make_shared<PackedWeights>();
}

void Packer::finish() {
  store_.weights_.push_back(found_ ? found_ : made_);
  if (!found_ && !key_.empty()) store_.pool_->add(key_, made_);
}

}  // namespace ifast::cpu
