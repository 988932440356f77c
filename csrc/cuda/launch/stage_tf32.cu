#include "cuda/launch/stage.h"
#include "cuda/launch/stage_launch.cuh"

namespace ifast::cuda {

void launch_stage_tf32(const StageArguments& arguments, int blocks, std::uintptr_t stream,
                       std::span<const Range> memory) {
  launch_stage_of<Tf32>("stage_tf32", arguments, blocks, stream, memory);
}

}  // namespace ifast::cuda
