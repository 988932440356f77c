#pragma once

#include <algorithm>

#include "cuda/kernels/network.cuh"
#include "cuda/kernels/stage.cuh"
#include "cuda/launch/drivers.h"
#include "ptx/launch.cuh"

// What drivers_<precision>.cu instantiate; they compile side by side. A Format names its kernels.
namespace ifast::cuda {

template <class Format>
void launch_stage(const StageArguments& arguments, const Grid& grid, std::uintptr_t stream,
                  std::span<const Range> memory) {
  launch(Format::kStageName, stage_kernel<Format>, arguments, grid, stream, memory);
}

template <class Format>
void launch_throughput(const StageArguments& arguments, const Grid& grid, std::uintptr_t stream,
                       std::span<const Range> memory) {
  launch(Format::kThroughputName, throughput_kernel<Format>, arguments, grid, stream, memory);
}

template <class Format>
void launch_pair(const StageArguments& arguments, const Grid& grid, std::uintptr_t stream,
                 std::span<const Range> memory) {
  launch(Format::kPairName, pair_kernel<Format>, arguments, grid, stream, memory);
}

template <class Format>
void launch_network(const NetworkArguments& arguments, int blocks, std::uintptr_t stream,
                    std::span<const Range> memory) {
  const int most =
      resident_blocks(Format::kNetworkName, network_kernel<Format>, kThreads, kSharedBytes, blocks);
  Grid grid{std::min(most, arguments.tiles), kThreads, kSharedBytes};
  grid.resident = true;
  launch(Format::kNetworkName, network_kernel<Format>, arguments, grid, stream, memory);
}

// None where no shape for throughput is offered.
template <class Format>
constexpr auto throughput_launcher() -> decltype(Drivers::throughput) {
  if constexpr (Format::kSplits) {
    return nullptr;
  } else {
    return launch_throughput<Format>;
  }
}

template <class Format>
inline constexpr Drivers kDriversOf = {launch_stage<Format>, throughput_launcher<Format>(),
                                       launch_pair<Format>, launch_network<Format>};

}  // namespace ifast::cuda
