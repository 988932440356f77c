#pragma once

#include <cuda_runtime.h>

#include <string>

#include "cuda/launch/runtime.h"

namespace ifast::cuda {

inline void check(cudaError_t status, const char* call, const char* kernel = nullptr) {
  if (status == cudaSuccess) return;
  std::string message = call;
  if (kernel != nullptr) message += std::string(" of ") + kernel;
  throw DeviceError(message + ": " + cudaGetErrorName(status) + ": " + cudaGetErrorString(status));
}

}  // namespace ifast::cuda
