#include "emulator/machine.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace ifast::emulator {

namespace {
// A lane may look at several counters in a row, each already as it should be, and do nothing else.
constexpr int kIdlePasses = 64;
}  // namespace

thread_local Lane* current = nullptr;

Machine::Machine(const Launch& launch, GlobalMemory& global, const std::function<void()>& body,
                 Omission omission, int blocks, const std::string& gap)
    : launch_(launch),
      global_(global),
      body_(body),
      omission_(omission),
      gap_(gap),
      blocks_(blocks),
      clusters_(blocks / launch.cluster),
      stacks_(blocks * launch.threads) {
  for (int b = 0; b < blocks; ++b) {
    Block& block = blocks_[b];
    block.rank = b % launch.cluster;
    block.cluster = &clusters_[b / launch.cluster];
    if (block.rank == 0) block.cluster->blocks = &block;
    block.lanes.resize(launch.threads);
    block.warps.resize(launch.threads / kWarpSize);
    for (int t = 0; t < launch.threads; ++t) {
      Lane& lane = block.lanes[t];
      lane.machine = this;
      lane.block = &block;
      lane.warp = &block.warps[t / kWarpSize];
      lane.thread = t;
      lane.warp->lanes = &block.lanes[t / kWarpSize * kWarpSize];
    }
  }
}

Machine::~Machine() {
  for (Block& block : blocks_) {
    for (Lane& lane : block.lanes) end_context(lane.context);
  }
  end_context(scheduler_);
}

void Machine::run(int first, int count) {
  int stack = 0;
  for (Cluster& cluster : clusters_) {
    cluster = {cluster.blocks, launch_.cluster, launch_.cluster * launch_.threads, 0, 0, 1};
  }
  for (int b = 0; b < count; ++b) {
    Block& block = blocks_[b];
    block.index = first + b;
    block.live = launch_.threads;
    block.at_barrier = 0;
    block.barrier_time = 0;
    block.clock = {static_cast<std::uint32_t>(block.index), 1, {}};
    block.last_visit = -1;
    block.shared.reset(launch_.shared_bytes, launch_.threads);
    for (Warp& warp : block.warps) {
      warp = {warp.lanes, ~0u, ~0u, 0, 0, 0, 0, nullptr};
    }
    for (Lane& lane : block.lanes) {
      lane.waits_for = nullptr;
      lane.arrivals = lane.waits = 0;
      lane.follows_earlier_launches = !launch_.overlaps;
      lane.observed.clear();
      lane.copies.clear();
      lane.groups.clear();
      lane.issued = lane.landed = 0;
      start_context(lane.context, stacks_[stack++], Stacks::kSize, enter);
    }
  }
  counts.blocks += count;

  // A pass resumes every warp that can run. Where nobody can, or where all that can have only
  // looked at counters that nobody changed, nothing will ever happen again.
  int idle_passes = 0;
  for (;;) {
    const std::uint64_t before = progress_;
    bool live = false;
    for (int b = 0; b < count; ++b) {
      for (Warp& warp : blocks_[b].warps) {
        live |= warp.live != 0;
        if (warp.runnable == 0) continue;
        Lane& lane = warp.lanes[std::countr_zero(warp.runnable)];
        current = &lane;
        switch_context(scheduler_, lane.context);
        current = nullptr;
        if (!failure_.empty()) throw Fault(failure_);
      }
    }
    if (!live) return;
    idle_passes = progress_ == before ? idle_passes + 1 : 0;
    if (idle_passes == kIdlePasses) report_deadlock(count);
  }
}

void Machine::enter() {
  Lane* lane = current;
  Machine& machine = *lane->machine;
  try {
    machine.body_();
    if (lane->issued != lane->landed) machine.fault("exits while a cp.async is in flight");
    if (lane->block->live == 1 && lane->block->last_visit >= lane->waits) {
      machine.fault("its block exits while others of the cluster may still read its shared memory");
    }
  } catch (const Fault& fault) {
    machine.failure_ = fault.what();
  } catch (const std::exception& error) {
    machine.failure_ = std::string("the emulator failed: ") + error.what();
  }
  machine.leave();
}

void Machine::leave() {
  Lane* lane = current;
  const std::uint32_t bit = 1u << lane->thread % kWarpSize;
  lane->warp->live &= ~bit;
  lane->warp->runnable &= ~bit;
  --lane->block->live;
  --lane->block->cluster->live;
  lane->waits_for = nullptr;
  note_progress();
  if (failure_.empty()) {
    yield();
  } else {
    switch_context(lane->context, scheduler_);
  }
}

// To the next lane of the warp that can run, else to the scheduler.
void Machine::yield() {
  Lane* lane = current;
  const Warp& warp = *lane->warp;
  const int index = lane->thread % kWarpSize;
  const std::uint32_t later = index == kWarpSize - 1 ? 0 : warp.runnable & (~0u << (index + 1));
  if (later == 0) {
    switch_context(lane->context, scheduler_);
    return;
  }
  Lane& next = warp.lanes[std::countr_zero(later)];
  current = &next;
  switch_context(lane->context, next.context);
}

void Machine::pause() {
  current->waits_for = "a counter";
  yield();
  current->waits_for = nullptr;
}

void Machine::block_barrier() {
  if (omission_ == Omission::kBlockBarrier) return;
  Lane* lane = current;
  Block& block = *lane->block;
  if (block.live != launch_.threads) fault("waits at a barrier that other threads have left");
  note_progress();
  if (++block.at_barrier == block.live) {
    block.at_barrier = 0;
    block.barrier_time = ++block.cluster->clock;
    for (Warp& warp : block.warps) {
      warp.runnable |= warp.at_barrier;
      warp.at_barrier = 0;
    }
    return;
  }
  const std::uint32_t bit = 1u << lane->thread % kWarpSize;
  lane->warp->at_barrier |= bit;
  lane->warp->runnable &= ~bit;
  lane->waits_for = "the block's barrier";
  yield();
  lane->waits_for = nullptr;
}

void Machine::cluster_arrive() {
  if (omission_ == Omission::kClusterBarrier) return;
  Lane& lane = *current;
  Cluster& cluster = *lane.block->cluster;
  if (cluster.live != cluster.size * launch_.threads) {
    fault("arrives at a cluster barrier that other threads have left");
  }
  if (lane.arrivals != lane.waits) fault("arrives twice at a cluster barrier and has not waited");
  note_progress();
  ++lane.arrivals;
  if (++cluster.arrived < cluster.live) return;
  cluster.arrived = 0;
  ++cluster.completed;
  for (int b = 0; b < cluster.size; ++b) {
    for (Warp& warp : cluster.blocks[b].warps) {
      warp.runnable |= warp.at_cluster_barrier;
      warp.at_cluster_barrier = 0;
    }
  }
}

void Machine::cluster_wait() {
  if (omission_ == Omission::kClusterBarrier) return;
  Lane& lane = *current;
  if (lane.arrivals == lane.waits) fault("waits at a cluster barrier where it has not arrived");
  if (lane.block->cluster->completed < lane.arrivals) {
    const std::uint32_t bit = 1u << lane.thread % kWarpSize;
    lane.warp->at_cluster_barrier |= bit;
    lane.warp->runnable &= ~bit;
    lane.waits_for = "the cluster's barrier";
    yield();
    lane.waits_for = nullptr;
  }
  ++lane.waits;
}

SharedMemory& Machine::shared_memory_of(int rank) {
  Lane& lane = *current;
  const Cluster& cluster = *lane.block->cluster;
  if (rank < 0 || rank >= cluster.size) {
    fault("access to block " + std::to_string(rank) + " of a cluster of " +
          std::to_string(cluster.size));
  }
  Block& block = cluster.blocks[rank];
  if (&block == lane.block) return block.shared;
  if (block.live == 0) fault("access to the shared memory of a block that has exited");
  block.last_visit = std::max<int>(block.last_visit, lane.arrivals);
  return block.shared;
}

bool Machine::meet(const char* instruction, const void* operands) {
  Lane* lane = current;
  Warp& warp = *lane->warp;
  lane->operands = operands;
  if (warp.arrived == 0) {
    warp.instruction = instruction;
  } else if (warp.instruction != instruction && std::strcmp(warp.instruction, instruction) != 0) {
    fault(std::string("its warp is split: it is at ") + instruction + ", others are at " +
          warp.instruction);
  }
  warp.arrived |= 1u << lane->thread % kWarpSize;
  note_progress();
  if (warp.arrived == ~0u) return true;
  warp.runnable &= ~(1u << lane->thread % kWarpSize);
  lane->waits_for = instruction;
  yield();
  lane->waits_for = nullptr;
  return false;
}

void Machine::release_warp() {
  Warp& warp = *current->warp;
  warp.runnable |= warp.arrived;
  warp.arrived = 0;
}

Access Machine::access() const {
  const Lane& lane = *current;
  const Block& block = *lane.block;
  return {block.rank * launch_.threads + lane.thread,
          block.rank,
          block.cluster->clock,
          block.barrier_time,
          lane.warp->barrier_time,
          lane.arrivals,
          lane.waits};
}

Block& Machine::current_block() const { return *current->block; }

const Range& Machine::check_range(const void* address, std::size_t bytes, bool write) {
  const Range* range = global_.find(address, bytes);
  if (range == nullptr) {
    fault(std::string(write ? "write" : "read") + " of " + std::to_string(bytes) +
          " bytes of global memory outside every buffer");
  }
  if (write && !range->writable) fault("write to global memory that is read-only");
  if (!range->settled && !current->follows_earlier_launches) {
    fault(waited_ && !gap_.empty()
              ? "access to global memory that launches before kernel " + gap_ +
                    " may still use, which has not waited for them"
              : "access to global memory before it has waited for earlier launches");
  }
  return *range;
}

void* Machine::check_global(const void* address, std::size_t bytes, bool write) {
  if (reinterpret_cast<std::uintptr_t>(address) % std::min<std::size_t>(bytes, 16) != 0) {
    fault("global access of " + std::to_string(bytes) + " bytes that is not aligned");
  }
  return check_bytes(address, bytes, write);
}

void* Machine::check_bytes(const void* address, std::size_t bytes, bool write) {
  const Range& range = check_range(address, bytes, write);
  const BlockClock& clock = current->block->clock;
  expect(write ? global_.write(clock, range, address, bytes)
               : global_.read(clock, range, address, bytes));
  return global_.place(range, address);
}

unsigned* Machine::check_counter(const unsigned* address) {
  const Range& range = check_range(address, sizeof(unsigned), true);
  return static_cast<unsigned*>(global_.place(range, address));
}

void Machine::wait_for_earlier_launches() {
  if (omission_ == Omission::kLaunchWait) return;
  waited_ = true;
  current->follows_earlier_launches = gap_.empty();
}

void Machine::land_copies(std::size_t pending_groups) {
  if (omission_ == Omission::kAsyncWait) return;
  Lane& lane = *current;
  while (lane.groups.size() > pending_groups) {
    for (; lane.landed < lane.groups.front(); ++lane.landed) {
      const PendingCopy& copy = lane.copies.front();
      std::byte bytes[16] = {};
      if (copy.valid > 0) std::memcpy(bytes, copy.global, copy.valid);
      lane.block->shared.land_copy(access(), copy.shared, bytes, copy.bytes);
      lane.copies.pop_front();
    }
    lane.groups.pop_front();
  }
}

std::string Machine::where(const Lane& lane) const {
  return "kernel " + launch_.kernel + ", block " + std::to_string(lane.block->index) + ", thread " +
         std::to_string(lane.thread);
}

void Machine::fault(const std::string& what) { throw Fault(where(*current) + ": " + what); }

void Machine::report_deadlock(int count) {
  const Lane* first = nullptr;
  const Lane* other = nullptr;  // one that does something else
  for (int b = 0; b < count; ++b) {
    for (const Lane& lane : blocks_[b].lanes) {
      if (first == nullptr && lane.waits_for != nullptr) first = &lane;
      if (first == nullptr || other != nullptr) continue;
      const bool same =
          lane.waits_for != nullptr && std::strcmp(lane.waits_for, first->waits_for) == 0;
      if (!same) other = &lane;
    }
  }
  std::string message = where(*first) + ": deadlock: waits for " + first->waits_for;
  if (other != nullptr) {
    message += "; block " + std::to_string(other->block->index) + ", thread " +
               std::to_string(other->thread) +
               (other->waits_for ? std::string(" waits for ") + other->waits_for : " has finished");
  }
  throw Fault(message);
}

}  // namespace ifast::emulator
