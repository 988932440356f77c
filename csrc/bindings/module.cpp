#include <pybind11/pybind11.h>

#include "bindings/errors.h"
#include "version.h"

namespace ifast {
void bind_cpu(pybind11::module_& m);
void bind_plan(pybind11::module_& m);
}  // namespace ifast

PYBIND11_MODULE(_native, m) {
  m.doc() = "Plan reader and CPU kernels of inception_fast.";
  m.attr("version") = ifast::kVersion;
  ifast::translate_errors();
  ifast::bind_cpu(m);
  ifast::bind_plan(m);
}
