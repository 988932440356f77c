#pragma once

#include <cstdint>
#include <span>

#include "cuda/launch/runtime.h"
#include "cuda/launch/steps.h"

// Each enqueues a stage on a stream of the current device; `blocks` are its tiles. They throw
// DeviceError.
namespace ifast::cuda {

using LaunchStage = void(const StageArguments& arguments, int blocks, std::uintptr_t stream,
                         std::span<const Range> memory);

LaunchStage launch_stage_fp32;
LaunchStage launch_stage_tf32;
LaunchStage launch_stage_fp16;
LaunchStage launch_stage_bf16;

}  // namespace ifast::cuda
