#include "cuda/launch/time_model.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace ifast::cuda {
namespace {

// A thread of a step that is no convolution, for each vector it reads: address, load, conversion
// and an operation on eight elements.
constexpr double kReadInstructions = 40;
constexpr double kPixelWarps = 4;
// Stores, release and acquire of the counter: trips to L2 before the first sums are read.
constexpr double kTripsToGather = 3;

// What one block asks of its multiprocessor, in clocks.
struct Load {
  double issue = 0;
  double shared = 0;
  double matrix = 0;
};

Load load_of_chunk(const TileCode& code, const MachineConstants& machine) {
  const double units = double(code.rows) / code.unit_rows * code.columns / code.unit_columns;
  const double read = units * (code.unit_rows + code.unit_columns) * code.chunk_bytes;
  const double filled = double(code.rows + code.columns) * code.chunk_bytes;
  // Half the rate for elements of four bytes, of which a chunk has half as many.
  const double operations = double(code.rows) * code.columns * code.chunk_bytes * code.products;
  return {code.instructions * code.warps / machine.schedulers,
          (read + filled) / machine.shared_bandwidth,
          operations / (code.warpgroup ? machine.wgmma_rate : machine.mma_rate)};
}

Load load_of_block(const StepWork& step, const MachineConstants& machine) {
  if (step.chunks == 0) {
    return {step.reads * kReadInstructions * kPixelWarps / machine.schedulers, 0, 0};
  }
  const Load chunk = load_of_chunk(step.code, machine);
  const double outside = step.code.outside * step.code.warps / machine.schedulers;
  return {step.chunks * chunk.issue + outside, step.chunks * chunk.shared,
          step.chunks * chunk.matrix};
}

// Clocks of a block alone on its multiprocessor, between its prologue and its epilogue.
struct Chain {
  double loop = 0;
  double partials = 0;
  double total() const { return loop + partials; }
};

Chain chain_of(const StepWork& step, const MachineConstants& machine, const Conditions& conditions,
               bool weights_from_hbm) {
  if (step.chunks == 0) return {machine.l2_latency + step.reads * machine.l1_latency, 0};
  const double warp = step.code.instructions * machine.lone_warp +
                      conditions.lines_lost * (machine.l2_latency - machine.l1_latency);
  const double memory = weights_from_hbm ? machine.hbm_latency : machine.l2_latency;
  const double latency = std::max(warp, memory / (step.code.ring - 1));
  Chain chain{step.chunks * latency, 0};
  if (step.parts > 1) chain.partials = (kTripsToGather + step.parts) * machine.l2_latency;
  return chain;
}

double hand_over_of(const MachineConstants& machine, HandOver hand_over) {
  switch (hand_over) {
    case HandOver::kDependentLaunch:
      return machine.dependent_edge;
    case HandOver::kGraphEdge:
      return machine.graph_edge;
    default:
      return machine.counter_hop;
  }
}

}  // namespace

std::string_view name_of(Bound bound) {
  constexpr std::array<std::string_view, 7> kNames = {"fixed",  "latency", "issue", "shared memory",
                                                      "matrix", "L2",      "HBM"};
  return kNames[static_cast<std::size_t>(bound)];
}

LaunchTime predict(const LaunchWork& work, const MachineConstants& machine,
                   const Conditions& conditions) {
  const double clocks = machine.clock * 1e3;  // in a microsecond
  const bool weights_from_hbm = conditions.working_set > machine.l2_bytes * 1e6;
  LaunchTime time;
  Load load;
  Chain chain;
  double blocks = 0, chains = 0, barriers = 0, weights = 0, activations = 0;
  int resident = TileCode{}.resident;
  bool multiplies = false;
  for (const StepWork& step : work.steps) {
    const Load own = load_of_block(step, machine);
    load.issue += step.blocks * own.issue;
    load.shared += step.blocks * own.shared;
    load.matrix += step.blocks * own.matrix;
    const Chain candidate = chain_of(step, machine, conditions, weights_from_hbm);
    if (candidate.total() > chain.total()) chain = candidate;
    chains += step.blocks * candidate.total();
    if (step.chunks > 0)
      resident = multiplies ? std::min(resident, step.code.resident) : step.code.resident;
    multiplies |= step.chunks > 0;
    blocks += step.blocks;
    barriers = std::max(barriers, step.barriers);
    time.l2_bytes += step.l2_bytes;
    weights += step.weight_bytes;
    activations += step.activation_bytes;
  }
  if (conditions.resident > 0) resident = std::min(resident, conditions.resident);
  time.hand_over = hand_over_of(machine, conditions.hand_over);
  if (blocks == 0) {
    time.total = time.hand_over;
    return time;
  }
  // The busiest multiprocessor's share of the launch: equal blocks go by whole turns.
  const double share = std::ceil(blocks / machine.multiprocessors) / blocks;
  time.prologue = machine.prologue + barriers * machine.cluster_barrier;
  time.epilogue = machine.epilogue;
  time.partials = chain.partials / clocks;
  time.hbm_bytes =
      (weights_from_hbm ? weights : 0) + std::max(0.0, activations - machine.l2_bytes * 1e6);
  const double once = time.prologue + time.epilogue;
  const std::array<double, 6> candidates = {
      // Blocks end at different times and hand their places on one by one.
      std::max(once + chain.total() / clocks, share * (blocks * once + chains / clocks) / resident),
      once + share * load.issue / clocks,
      once + share * load.shared / clocks,
      once + share * load.matrix / clocks,
      once + time.l2_bytes / machine.l2_bandwidth * 1e-6,
      once + time.hbm_bytes / machine.hbm_bandwidth * 1e-6};
  constexpr std::array<Bound, 6> kBounds = {Bound::kLatency, Bound::kIssue, Bound::kShared,
                                            Bound::kMatrix,  Bound::kL2,    Bound::kHbm};
  const auto longest = std::ranges::max_element(candidates);
  time.bound = kBounds[static_cast<std::size_t>(longest - candidates.begin())];
  time.total = time.hand_over + *longest;
  time.partials = std::min(time.partials, *longest - once);
  time.loop = *longest - once - time.partials;
  if (time.loop < time.total / 2) time.bound = Bound::kFixed;
  return time;
}

}  // namespace ifast::cuda
