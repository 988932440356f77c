#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/launch/machine_constants.h"

// How long a launch should take, and what bounds it. Plain arithmetic over the machine's constants
// and a few counts of the code; nothing is measured here.
//
// A launch begins with the hand-over from the one before. Then each multiprocessor works off its
// share of the blocks, as many at a time as it has room for. Either a block's own chain of
// instructions bounds it, from prologue to epilogue, once for each round of blocks; or the sum of
// what the blocks of a multiprocessor issue, read from shared memory or multiply; or the bytes that
// all blocks move through L2 and from HBM.
namespace ifast::cuda {

// The loop of a convolution tile as the compiler made it. The units are what multiplies as one with
// fragments of its own: warps for mma.sync, groups of four warps for wgmma.
struct TileCode {
  int rows = 64;
  int columns = 64;
  int warps = 4;
  int unit_rows = 32;
  int unit_columns = 32;
  int chunk_bytes = 64;       // of a row or column, each time through the loop
  int ring = 4;               // chunks in shared memory, all but one of them in flight
  double instructions = 219;  // of a warp, each time through the loop
  double outside = 600;       // of a warp, before and after it
  int products = 1;           // matrix products for one, 3 where operands are split in two
  bool warpgroup = false;     // wgmma
  int resident = 4;           // blocks that a multiprocessor has room for
};

// The blocks that a launch gives to one step.
struct StepWork {
  std::string name;
  TileCode code;  // of a convolution
  double blocks = 0;
  double chunks = 0;        // of K that a block goes through; 0 where it is no convolution
  double parts = 1;         // segments of a tile whose sums meet in memory
  double reads = 0;         // vectors that a thread of any other step reads, one by one
  double barriers = 0;      // of a cluster, that a block waits at
  double l2_bytes = 0;      // read and written, each time that it is
  double weight_bytes = 0;  // each byte once
  double activation_bytes = 0;
};

// One launch, or in the network driver the tiles of what would be one.
struct LaunchWork {
  std::vector<StepWork> steps;
};

enum class HandOver { kDependentLaunch, kGraphEdge, kCounter };

struct Conditions {
  HandOver hand_over = HandOver::kDependentLaunch;
  // Cache lines that are read again in each chunk, because polls with acquire empty L1.
  double lines_lost = 0;
  // Of the whole pass, weights and activations: what does not fit in L2 comes from HBM.
  double working_set = 0;
  // Most blocks that a multiprocessor has room for; 0 where the steps' code says it.
  int resident = 0;
};

enum class Bound {
  kFixed,    // more than half is hand-over, prologue, partial sums and epilogue
  kLatency,  // the loop of a block with too few others beside it
  kIssue,
  kShared,
  kMatrix,
  kL2,
  kHbm
};

std::string_view name_of(Bound bound);

// Microseconds; the parts add up to the total. `loop` is what the others leave of it.
struct LaunchTime {
  double total = 0;
  double hand_over = 0;
  double prologue = 0;
  double loop = 0;
  double partials = 0;
  double epilogue = 0;
  double l2_bytes = 0;
  double hbm_bytes = 0;
  Bound bound = Bound::kFixed;
};

LaunchTime predict(const LaunchWork& work, const MachineConstants& machine,
                   const Conditions& conditions);

}  // namespace ifast::cuda
