#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "emulator/fiber.h"
#include "emulator/global_memory.h"
#include "emulator/launch.h"
#include "emulator/shared_memory.h"

// Blocks, warps and lanes. Each lane is a context of its own; a warp-wide instruction runs once,
// when its last lane arrives. Lanes change only where they wait, so a run is the same every time.
namespace ifast::emulator {

inline constexpr int kWarpSize = 32;

struct Block;
struct Cluster;
struct Lane;
struct Warp;
class Machine;

// The lane that runs now on this thread of the host.
extern thread_local Lane* current __attribute__((tls_model("initial-exec")));

// A cp.async that was issued and has not landed.
struct PendingCopy {
  std::uint32_t shared;
  const void* global;
  std::uint32_t bytes;
  std::uint32_t valid;
};

struct Lane {
  Context context;
  Machine* machine = nullptr;
  Block* block = nullptr;
  Warp* warp = nullptr;
  int thread = 0;
  // At the cluster's barrier: how often it arrived, and how often it has waited for everyone to.
  std::uint16_t arrivals = 0;
  std::uint16_t waits = 0;
  bool follows_earlier_launches = false;
  std::vector<std::uint32_t> observed;  // releases that relaxed loads saw since the last fence
  const char* waits_for = nullptr;
  const void* operands = nullptr;  // of the warp-wide instruction that it waits for
  // Copies in order of issue, and how many of them each group that was committed ends at.
  std::deque<PendingCopy> copies;
  std::deque<std::size_t> groups;
  std::size_t issued = 0;
  std::size_t landed = 0;
};

struct Warp {
  Lane* lanes = nullptr;  // kWarpSize of them
  std::uint32_t runnable = 0;
  std::uint32_t live = 0;
  std::uint32_t arrived = 0;  // at the warp-wide instruction `instruction`
  std::uint32_t at_barrier = 0;
  std::uint32_t at_cluster_barrier = 0;
  std::uint32_t barrier_time = 0;
  const char* instruction = nullptr;
};

struct Block {
  int index = 0;
  int rank = 0;  // in its cluster
  Cluster* cluster = nullptr;
  int live = 0;
  int at_barrier = 0;
  std::uint32_t barrier_time = 0;
  BlockClock clock;
  int last_visit = -1;  // arrivals of the last thread of another block that looked at its memory
  SharedMemory shared;
  std::vector<Warp> warps;
  std::vector<Lane> lanes;
};

struct Cluster {
  Block* blocks = nullptr;
  int size = 0;
  int live = 0;                 // threads
  int arrived = 0;              // at the barrier that is not complete
  std::uint16_t completed = 0;  // barriers
  std::uint32_t clock = 1;      // ticks at every barrier of its blocks and warps
};

// Runs blocks on one thread of the host.
class Machine {
 public:
  Machine(const Launch& launch, GlobalMemory& global, const std::function<void()>& body,
          Omission omission, int blocks, const std::string& gap);
  ~Machine();

  // Runs these blocks, at most as many as the constructor was told, side by side.
  void run(int first, int count);

  const Launch& launch() const { return launch_; }
  Omission omission() const { return omission_; }
  // Whether a thread has waited for earlier launches.
  bool waited() const { return waited_; }
  Counts counts;

  // For the lane that runs now.
  [[noreturn]] void fault(const std::string& what);
  void expect(const std::string& wrong) {
    if (!wrong.empty()) fault(wrong);
  }
  // Returns where the bytes are, which need not be at the address.
  void* check_global(const void* address, std::size_t bytes, bool write);
  // The same for any number of bytes at any address.
  void* check_bytes(const void* address, std::size_t bytes, bool write);
  // A counter between blocks: in order by itself. Returns where it is; release and acquire take
  // its address.
  unsigned* check_counter(const unsigned* address);
  void release(const unsigned* counter) { global_.release(current_block().clock, counter); }
  void acquire(const unsigned* counter) { global_.acquire(current_block().clock, counter); }
  void observe(const unsigned* counter) { global_.observe(current->observed, counter); }
  void fence() { global_.fence(current_block().clock, current->observed); }
  void wait_for_earlier_launches();
  Access access() const;
  void block_barrier();
  void cluster_arrive();
  void cluster_wait();
  // Shared memory of the block of that rank in this one's cluster.
  SharedMemory& shared_memory_of(int rank);
  void pause();
  // Says that other lanes may have something new to look at.
  void note_progress() { ++progress_; }
  // Returns true to the last lane of the warp that arrives, which runs the instruction; the others
  // return after that.
  bool meet(const char* instruction, const void* operands);
  void release_warp();
  void land_copies(std::size_t pending_groups);

 private:
  static void enter();
  void yield();
  void leave();
  [[noreturn]] void report_deadlock(int count);
  std::string where(const Lane& lane) const;

  Block& current_block() const;
  const Range& check_range(const void* address, std::size_t bytes, bool write);

  const Launch& launch_;
  GlobalMemory& global_;
  const std::function<void()>& body_;
  const Omission omission_;
  const std::string& gap_;  // of InFlight::Before
  bool waited_ = false;
  std::vector<Block> blocks_;
  std::vector<Cluster> clusters_;
  Stacks stacks_;
  Context scheduler_;
  std::string failure_;
  std::uint64_t progress_ = 0;
};

}  // namespace ifast::emulator
