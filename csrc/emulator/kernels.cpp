// The kernels' own source, compiled for the host.
#include "cuda/launch/drivers_bf16.cu"
#include "cuda/launch/drivers_fp16.cu"
#include "cuda/launch/drivers_fp32.cu"
#include "cuda/launch/drivers_tf32.cu"
