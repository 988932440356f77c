#include <pybind11/pybind11.h>

#include "version.h"

PYBIND11_MODULE(_native, m) {
  m.doc() = "Plan reader and CPU kernels of inception_fast.";
  m.attr("version") = ifast::kVersion;
}
