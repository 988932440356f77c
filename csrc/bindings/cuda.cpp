#include "bindings/cuda_executor.h"
#include "bindings/errors.h"
#include "version.h"

PYBIND11_MODULE(_native_cuda, m) {
  m.doc() = "CUDA kernels of inception_fast.";
  m.attr("version") = ifast::kVersion;
  ifast::translate_errors();
  ifast::translate_device_errors();
  ifast::bind_cuda_executor(m);
}
