// The kernels' own source, compiled for the host.
#include "cuda/launch/stage_bf16.cu"
#include "cuda/launch/stage_fp16.cu"
#include "cuda/launch/stage_fp32.cu"
#include "cuda/launch/stage_tf32.cu"
