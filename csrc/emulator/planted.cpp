#include "emulator/planted.h"

#include <array>
#include <stdexcept>

#include "emulator/launch.h"
#include "ptx/async_copy.cuh"
#include "ptx/cluster.cuh"
#include "ptx/matrix.cuh"
#include "ptx/memory.cuh"
#include "ptx/sync.cuh"

namespace ifast::emulator {
namespace {

namespace ptx = cuda::ptx;
using ptx::Vector;

constexpr int kThreads = 64;
constexpr std::uint32_t kSharedBytes = kThreads * sizeof(Vector);

// What a kernel works on: a vector a thread, and a counter.
struct Memory {
  alignas(16) std::array<Vector, kThreads> vectors{};
  unsigned counter = 0;
  alignas(16) std::array<Vector, kThreads> results{};
  int launch = 0;  // the number of the launch that runs
};

std::uint32_t place_of(int thread) {
  return ptx::shared_memory() + thread % kThreads * static_cast<std::uint32_t>(sizeof(Vector));
}

// The thread half a block away is in another warp.
int partner() { return ptx::thread_index() + kThreads / 2; }
bool is_in_later_warp() { return ptx::thread_index() >= kThreads / 2; }

void missing_barrier(Memory&, bool mistake) {
  ptx::store_shared_vector(place_of(ptx::thread_index()), {});
  if (!mistake) ptx::block_barrier();
  if (is_in_later_warp()) ptx::load_shared_vector(place_of(partner()));
}

void missing_warp_barrier(Memory&, bool mistake) {
  const int thread = ptx::thread_index();
  ptx::store_shared_vector(place_of(thread), {});
  if (!mistake) ptx::warp_barrier();
  if (thread % 2 == 1) ptx::load_shared_vector(place_of(thread - 1));
}

// Reads, and then fills the same memory for the next round.
void overwritten_too_early(Memory&, bool mistake) {
  ptx::store_shared_vector(place_of(ptx::thread_index()), {});
  ptx::block_barrier();
  if (is_in_later_warp()) ptx::load_shared_vector(place_of(partner()));
  if (!mistake) ptx::block_barrier();
  if (!is_in_later_warp()) ptx::store_shared_vector(place_of(ptx::thread_index()), {});
}

void shared_write_past_the_end(Memory&, bool mistake) {
  const int thread = ptx::thread_index() + (mistake ? 1 : 0);
  ptx::store_shared_vector(ptx::shared_memory() + thread * sizeof(Vector), {});
}

void global_write_past_the_end(Memory& memory, bool mistake) {
  if (ptx::block_index() != 0) return;
  const int thread = ptx::thread_index() + (mistake ? 1 : 0);
  ptx::store_global_vector(memory.vectors.data() + thread, {});
}

void global_read_past_the_end(Memory& memory, bool mistake) {
  const int thread = ptx::thread_index() + (mistake ? 1 : 0);
  ptx::load_global_vector(memory.vectors.data() + thread);
}

void unwritten_shared_memory(Memory&, bool mistake) {
  const int thread = ptx::thread_index();
  if (!mistake || thread != 7) ptx::store_shared_vector(place_of(thread), {});
  ptx::block_barrier();
  ptx::load_shared_vector(place_of(partner()));
}

void missing_async_wait(Memory& memory, bool mistake) {
  const int thread = ptx::thread_index();
  ptx::cp_async<16>(place_of(thread), memory.vectors.data() + thread, 16);
  ptx::cp_async_commit();
  if (!mistake) ptx::cp_async_wait<0>();
  ptx::block_barrier();
  ptx::load_shared_vector(place_of(partner()));
  ptx::cp_async_wait<0>();
}

// The last group is not the one that is read.
void wait_for_too_few_groups(Memory& memory, bool mistake) {
  const int thread = ptx::thread_index();
  for (int half = 0; half < 2; ++half) {
    ptx::cp_async<8>(place_of(thread) + 8 * half, memory.vectors.data() + thread, 8);
    ptx::cp_async_commit();
  }
  if (mistake) {
    ptx::cp_async_wait<1>();
  } else {
    ptx::cp_async_wait<0>();
  }
  ptx::block_barrier();
  ptx::load_shared_vector(place_of(partner()));
  ptx::cp_async_wait<0>();
}

void wait_that_never_comes(Memory& memory, bool mistake) {
  if (ptx::block_index() == 0) {
    while (ptx::load_relaxed(&memory.counter) < kThreads) ptx::pause();
  } else if (!mistake || ptx::thread_index() != 0) {
    ptx::add_release(&memory.counter, 1);
  }
}

void barrier_that_some_skip(Memory&, bool mistake) {
  if (!mistake || ptx::thread_index() % 2 == 0) ptx::block_barrier();
}

void split_warp(Memory&, bool mistake) {
  const int thread = ptx::thread_index();
  ptx::store_shared_vector(place_of(thread), {});
  ptx::block_barrier();
  std::uint32_t registers[4];
  if (mistake && thread % 2 == 1) {
    ptx::shuffle_xor(0.0f, 1);
  } else {
    ptx::ldmatrix(registers, place_of(thread));
  }
}

void unaligned_vector(Memory& memory, bool mistake) {
  const auto* bytes = reinterpret_cast<const std::byte*>(memory.vectors.data());
  ptx::load_global_vector(bytes + (mistake ? 8 : 0));
}

// The same place in the other block of the cluster.
Vector load_from_other_block() {
  return ptx::load_cluster_vector(place_of(ptx::thread_index()), 1 - ptx::cluster_rank());
}

void cluster_barrier() {
  ptx::cluster_arrive();
  ptx::cluster_wait();
}

// A barrier of each block does not put one in order with the other.
void missing_cluster_barrier(Memory&, bool mistake) {
  ptx::store_shared_vector(place_of(ptx::thread_index()), {});
  if (mistake) {
    ptx::block_barrier();
  } else {
    cluster_barrier();
  }
  if (ptx::cluster_rank() == 1) load_from_other_block();
  cluster_barrier();
}

// What a thread writes between its arrival and its wait is not there for the others.
void written_after_arrival(Memory&, bool mistake) {
  if (mistake) ptx::cluster_arrive();
  ptx::store_shared_vector(place_of(ptx::thread_index()), {});
  if (!mistake) ptx::cluster_arrive();
  ptx::cluster_wait();
  load_from_other_block();
  cluster_barrier();
}

void overwritten_under_other_block(Memory&, bool mistake) {
  ptx::store_shared_vector(place_of(ptx::thread_index()), {});
  cluster_barrier();
  if (ptx::cluster_rank() == 1) load_from_other_block();
  if (!mistake) cluster_barrier();
  if (ptx::cluster_rank() == 0) ptx::store_shared_vector(place_of(ptx::thread_index()), {});
  if (mistake) cluster_barrier();
}

void unwritten_cluster_memory(Memory&, bool mistake) {
  if (!mistake || ptx::cluster_rank() == 0) {
    ptx::store_shared_vector(place_of(ptx::thread_index()), {});
  }
  cluster_barrier();
  load_from_other_block();
  cluster_barrier();
}

void cluster_read_past_the_end(Memory&, bool mistake) {
  ptx::store_shared_vector(place_of(ptx::thread_index()), {});
  cluster_barrier();
  const std::uint32_t end = mistake ? kSharedBytes : 0;
  ptx::load_cluster_vector(place_of(ptx::thread_index()) + end, 1 - ptx::cluster_rank());
  cluster_barrier();
}

void block_that_leaves_its_cluster(Memory&, bool mistake) {
  ptx::store_shared_vector(place_of(ptx::thread_index()), {});
  cluster_barrier();
  load_from_other_block();
  if (!mistake) cluster_barrier();
}

void cluster_barrier_that_some_skip(Memory&, bool mistake) {
  if (!mistake || ptx::cluster_rank() == 0) cluster_barrier();
}

// One block writes and counts; the other waits, and reads before or after.
void missing_acquire(Memory& memory, bool mistake) {
  if (ptx::block_index() == 0) {
    ptx::store_global_vector(memory.vectors.data() + ptx::thread_index(), {});
    ptx::block_barrier();
    if (ptx::thread_index() == 0) ptx::add_release(&memory.counter, 1);
    return;
  }
  while (ptx::load_relaxed(&memory.counter) == 0) ptx::pause();
  if (!mistake) ptx::fence();
  ptx::block_barrier();
  ptx::load_global_vector(memory.vectors.data() + ptx::thread_index());
}

void written_after_release(Memory& memory, bool mistake) {
  if (ptx::block_index() == 0) {
    if (mistake && ptx::thread_index() == 0) ptx::add_release(&memory.counter, 1);
    ptx::store_global_vector(memory.vectors.data() + ptx::thread_index(), {});
    ptx::block_barrier();
    if (!mistake && ptx::thread_index() == 0) ptx::add_release(&memory.counter, 1);
    return;
  }
  while (ptx::load_relaxed(&memory.counter) == 0) ptx::pause();
  ptx::fence();
  ptx::load_global_vector(memory.vectors.data() + ptx::thread_index());
}

void two_blocks_write_one_place(Memory& memory, bool mistake) {
  const int half = mistake ? 0 : ptx::block_index() * kThreads / 2;
  if (ptx::thread_index() < kThreads / 2) {
    ptx::store_global_vector(memory.vectors.data() + half + ptx::thread_index(), {});
  }
}

// The first of several launches: one block writes vectors that are not zero.
void write_vectors(Memory& memory) {
  ptx::wait_for_earlier_launches();
  if (ptx::block_index() != 0) return;
  const auto word = static_cast<std::uint32_t>(ptx::thread_index() + 1);
  ptx::store_global_vector(memory.vectors.data() + ptx::thread_index(), {{word, word, word, word}});
}

void read_before_earlier_launches(Memory& memory, bool mistake) {
  if (memory.launch == 0) return write_vectors(memory);
  if (!mistake) ptx::wait_for_earlier_launches();
  ptx::load_global_vector(memory.vectors.data() + ptx::thread_index());
}

void write_before_earlier_launches(Memory& memory, bool mistake) {
  if (memory.launch == 1 && mistake) {
    if (ptx::block_index() == 0) ptx::store_global(&memory.results[ptx::thread_index()], {});
    ptx::wait_for_earlier_launches();
    return;
  }
  write_vectors(memory);
}

// That a launch may start says nothing about those before it.
void trigger_in_place_of_wait(Memory& memory, bool mistake) {
  if (memory.launch == 0) return write_vectors(memory);
  ptx::launch_dependents();
  if (!mistake) ptx::wait_for_earlier_launches();
  ptx::load_global_vector(memory.vectors.data() + ptx::thread_index());
}

// The second launch touches nothing, but the third takes its end for the first one's.
void middle_that_does_not_wait(Memory& memory, bool mistake) {
  if (memory.launch == 0) return write_vectors(memory);
  ptx::launch_dependents();
  if (memory.launch == 2 || !mistake) ptx::wait_for_earlier_launches();
  if (memory.launch == 2) ptx::load_global_vector(memory.vectors.data() + ptx::thread_index());
}

// The second launch says that nobody writes to the vectors.
void unsettled_memory(Memory& memory, bool mistake) {
  if (memory.launch == 0) return write_vectors(memory);
  if (!mistake) ptx::wait_for_earlier_launches();
  ptx::load_global_vector(memory.vectors.data() + ptx::thread_index());
}

// What the emulator cannot see is not there: no Fault, but other results.
void read_past_the_emulator(Memory& memory, bool mistake) {
  if (memory.launch == 0) return write_vectors(memory);
  ptx::wait_for_earlier_launches();
  if (ptx::block_index() != 0) return;
  const int thread = ptx::thread_index();
  const Vector* from = memory.vectors.data() + thread;
  ptx::store_global_vector(&memory.results[thread],
                           mistake ? *from : ptx::load_global_vector(from));
}

struct Planted {
  const char* name;
  void (*kernel)(Memory&, bool);
  int cluster = 1;
  int launches = 1;  // more than one overlap
  bool takes_for_settled = false;
};

constexpr Planted kPlanted[] = {
    {"missing_barrier", missing_barrier},
    {"missing_warp_barrier", missing_warp_barrier},
    {"overwritten_too_early", overwritten_too_early},
    {"shared_write_past_the_end", shared_write_past_the_end},
    {"global_write_past_the_end", global_write_past_the_end},
    {"global_read_past_the_end", global_read_past_the_end},
    {"unwritten_shared_memory", unwritten_shared_memory},
    {"missing_async_wait", missing_async_wait},
    {"wait_for_too_few_groups", wait_for_too_few_groups},
    {"wait_that_never_comes", wait_that_never_comes},
    {"barrier_that_some_skip", barrier_that_some_skip},
    {"split_warp", split_warp},
    {"unaligned_vector", unaligned_vector},
    {"missing_cluster_barrier", missing_cluster_barrier, 2},
    {"written_after_arrival", written_after_arrival, 2},
    {"overwritten_under_other_block", overwritten_under_other_block, 2},
    {"unwritten_cluster_memory", unwritten_cluster_memory, 2},
    {"cluster_read_past_the_end", cluster_read_past_the_end, 2},
    {"block_that_leaves_its_cluster", block_that_leaves_its_cluster, 2},
    {"cluster_barrier_that_some_skip", cluster_barrier_that_some_skip, 2},
    {"missing_acquire", missing_acquire},
    {"written_after_release", written_after_release},
    {"two_blocks_write_one_place", two_blocks_write_one_place},
    {"read_before_earlier_launches", read_before_earlier_launches, 1, 2},
    {"write_before_earlier_launches", write_before_earlier_launches, 1, 2},
    {"trigger_in_place_of_wait", trigger_in_place_of_wait, 1, 2},
    {"middle_that_does_not_wait", middle_that_does_not_wait, 1, 3},
    {"unsettled_memory", unsettled_memory, 1, 2, true},
    {"read_past_the_emulator", read_past_the_emulator, 1, 2},
};

void run_launches(const Planted& planted, Memory& memory, bool mistake) {
  const cuda::DeviceScope scope(0);
  for (memory.launch = 0; memory.launch < planted.launches; ++memory.launch) {
    const bool settled = mistake && planted.takes_for_settled && memory.launch > 0;
    const Range ranges[] = {{memory.vectors.data(), sizeof memory.vectors, !settled, settled},
                            {memory.results.data(), sizeof memory.results, true},
                            {&memory.counter, sizeof memory.counter, true}};
    Launch launch;
    launch.kernel = planted.name;
    if (planted.launches > 1) launch.kernel += "_" + std::to_string(memory.launch);
    launch.blocks = 2;
    launch.threads = kThreads;
    launch.shared_bytes = kSharedBytes;
    launch.memory = ranges;
    launch.cluster = planted.cluster;
    launch.overlaps = planted.launches > 1;
    launch.resident = true;
    run(launch, [&] { planted.kernel(memory, mistake); });
  }
}

}  // namespace

std::vector<std::string> planted_names() {
  std::vector<std::string> names;
  for (const Planted& planted : kPlanted) names.emplace_back(planted.name);
  return names;
}

std::vector<std::uint32_t> run_planted(const std::string& name, bool mistake) {
  for (const Planted& planted : kPlanted) {
    if (name != planted.name) continue;
    Memory memory;
    run_launches(planted, memory, mistake);
    std::vector<std::uint32_t> results;
    for (const Vector& v : memory.results) results.push_back(v.word[0]);
    return results;
  }
  throw std::invalid_argument("planted kernel: got " + name + ", which there is none of");
}

}  // namespace ifast::emulator
