#pragma once

#include <array>
#include <string_view>

// What the time model knows of a GPU. The defaults are an H100's (SXM, 132 multiprocessors) and no
// measurement of this project has confirmed them; benchmarks/gpu measures them and writes a file
// that parse_machine() reads.
namespace ifast::cuda {

struct MachineConstants {
  double multiprocessors = 132;
  double clock = 1.853;
  double schedulers = 4;
  double shared_bandwidth = 128;
  double mma_rate = 2580;
  double wgmma_rate = 3230;
  double lone_warp = 2.7;
  double l1_latency = 41;
  double l2_latency = 263;
  double hbm_latency = 479;
  double l2_bandwidth = 5.5;
  double l2_bytes = 50;
  double hbm_bandwidth = 3.35;
  double dependent_edge = 1.0;
  double graph_edge = 1.3;
  double counter_hop = 0.65;
  double cluster_barrier = 0.2;
  double prologue = 0.7;
  double epilogue = 0.5;
};

// A constant as the file has it.
struct MachineField {
  std::string_view name;
  double MachineConstants::* member;
  std::string_view unit;
  std::string_view source;  // of the default
};

// All of them, in the order of the struct.
inline constexpr std::array<MachineField, 19> kMachineFields = {{
    {"multiprocessors", &MachineConstants::multiprocessors, "1", "data sheet"},
    {"clock", &MachineConstants::clock, "GHz",
     "assumed: 790 TFLOP/s of wgmma on 132 multiprocessors are 3,230 FLOP a clock"},
    {"schedulers", &MachineConstants::schedulers, "instructions/clk/multiprocessor", "data sheet"},
    {"shared_bandwidth", &MachineConstants::shared_bandwidth, "B/clk/multiprocessor", "data sheet"},
    {"mma_rate", &MachineConstants::mma_rate, "FLOP/clk/multiprocessor",
     "published: mma.sync reaches 63 % of the peak of 4,096 (Luo et al., 2024)"},
    {"wgmma_rate", &MachineConstants::wgmma_rate, "FLOP/clk/multiprocessor",
     "a large bfloat16 product on an H200, 790 TFLOP/s"},
    {"lone_warp", &MachineConstants::lone_warp, "clk/instruction",
     "calibrated: about 620 to 650 clocks for a chunk of 219 to 238 instructions, as predicted "
     "from "
     "SASS for a block alone"},
    {"l1_latency", &MachineConstants::l1_latency, "clk", "published (Luo et al., 2024)"},
    {"l2_latency", &MachineConstants::l2_latency, "clk", "published (Luo et al., 2024)"},
    {"hbm_latency", &MachineConstants::hbm_latency, "clk", "published (Luo et al., 2024)"},
    {"l2_bandwidth", &MachineConstants::l2_bandwidth, "TB/s",
     "calibrated on the predictions for batch 128; published measurements are 5.5 to 5.7"},
    {"l2_bytes", &MachineConstants::l2_bytes, "MB", "data sheet"},
    {"hbm_bandwidth", &MachineConstants::hbm_bandwidth, "TB/s", "data sheet"},
    {"dependent_edge", &MachineConstants::dependent_edge, "us",
     "assumed: from the end of a launch to the wait of the one that depends on it"},
    {"graph_edge", &MachineConstants::graph_edge, "us",
     "published: an edge of a CUDA graph takes 1.2 to 1.4 us"},
    {"counter_hop", &MachineConstants::counter_hop, "us",
     "published: a release and an acquire of a counter"},
    {"cluster_barrier", &MachineConstants::cluster_barrier, "us", "assumed"},
    {"prologue", &MachineConstants::prologue, "us",
     "assumed: of 1.2 us with the epilogue, as predicted from SASS"},
    {"epilogue", &MachineConstants::epilogue, "us",
     "assumed: of 1.2 us with the prologue, as predicted from SASS"},
}};

// {"gpu": ..., "constants": {name: {"value", "unit", "source", "confirmed"}}} with every constant.
// Throws EngineError, which names the constant, where one is missing, unknown, not positive or in
// another unit.
MachineConstants parse_machine(std::string_view json);

}  // namespace ifast::cuda
