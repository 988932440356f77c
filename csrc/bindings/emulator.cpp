#include <bit>
#include <stdexcept>

#include "bindings/cuda_executor.h"
#include "bindings/errors.h"
#include "bindings/time_model.h"
#include "emulator/launch.h"
#include "emulator/planted.h"
#include "version.h"

PYBIND11_MODULE(_native_emulator, m) {
  namespace py = pybind11;
  namespace emulator = ifast::emulator;
  m.doc() = "CUDA kernels of inception_fast, run on the CPU by an emulator that checks them.";
  m.attr("version") = ifast::kVersion;
  ifast::translate_errors();
  ifast::translate_device_errors();
  py::register_local_exception<emulator::Fault>(m, "Fault", PyExc_RuntimeError);
  ifast::bind_cuda_executor(m);
  ifast::bind_time_model(m);

  py::enum_<emulator::Omission>(m, "Omission")
      .value("none", emulator::Omission::kNone)
      .value("block_barrier", emulator::Omission::kBlockBarrier)
      .value("cluster_barrier", emulator::Omission::kClusterBarrier)
      .value("async_wait", emulator::Omission::kAsyncWait)
      .value("counter_wait", emulator::Omission::kCounterWait)
      .value("launch_wait", emulator::Omission::kLaunchWait);
  m.def("set_omission", &emulator::set_omission, py::arg("omission"),
        "Leaves an instruction out of the launches of this thread.");

  m.def("set_reversed", &emulator::set_reversed, py::arg("reversed"),
        "Starts the blocks of this thread's launches from the last, where they do not wait for "
        "each other.");
  m.def(
      "set_limits",
      [](int multiprocessors, int shared_bytes, int cluster, int resident_blocks) {
        if (multiprocessors < 1 || shared_bytes < ifast::cuda::kSharedBytes || cluster < 1 ||
            resident_blocks < 1) {
          throw std::invalid_argument("limits: below what any kernel needs");
        }
        emulator::set_limits({multiprocessors, shared_bytes,
                              static_cast<int>(std::bit_width(static_cast<unsigned>(cluster))) - 1,
                              true});
        emulator::set_resident_blocks(resident_blocks);
      },
      py::arg("multiprocessors") = 4, py::arg("shared_bytes") = 227 << 10, py::arg("cluster") = 8,
      py::arg("resident_blocks") = emulator::kUsualResidentBlocks,
      "The device that this thread's executors are built for; without arguments, the usual one.");

  py::class_<emulator::Counts>(m, "Counts")
      .def_readonly("blocks", &emulator::Counts::blocks)
      .def_readonly("matrix_products", &emulator::Counts::matrix_products)
      .def_readonly("matrix_loads", &emulator::Counts::matrix_loads)
      .def_readonly("bank_conflicts", &emulator::Counts::bank_conflicts)
      .def_readonly("async_copies", &emulator::Counts::async_copies)
      .def_readonly("async_copies_16", &emulator::Counts::async_copies_16)
      .def_readonly("records", &emulator::Counts::records);
  m.def("take_counts", &emulator::take_counts,
        "What this thread's launches did since the last call.");
  m.def("planted_names", &emulator::planted_names);
  m.def("run_planted", &emulator::run_planted, py::arg("name"), py::arg("mistake"),
        "Runs a small kernel with its mistake or without, and returns what it computed.");
}
