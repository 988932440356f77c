#pragma once

#include "cuda/kernels/stage.cuh"
#include "ptx/launch.cuh"

namespace ifast::cuda {

// Defined in stage_<precision>.cu, which compile side by side.
template <class Format>
void launch_stage_of(const char* name, const StageArguments& arguments, int blocks,
                     std::uintptr_t stream, std::span<const Range> memory) {
  launch(name, stage_kernel<Format>, arguments, blocks, kThreads, kStageSharedBytes, stream,
         memory);
}

}  // namespace ifast::cuda
