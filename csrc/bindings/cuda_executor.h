#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda/launch/executor.h"
#include "plan/engine_file.h"

// The executor of csrc/cuda, which the module for devices and the one for the emulator bind alike.
namespace ifast {

inline cuda::Driver parse_driver(const std::string& name) {
  if (name == "stage") return cuda::Driver::kStage;
  if (name == "pair") return cuda::Driver::kPair;
  if (name == "network") return cuda::Driver::kNetwork;
  throw EngineError("driver: got " + name + ", expected stage, pair or network");
}

// Addresses and sizes, as torch.Tensor.data_ptr() and nbytes give them; on the host.
using Address = std::pair<std::uintptr_t, std::size_t>;

inline std::unique_ptr<cuda::Executor> make_cuda_executor(
    const std::string& json, const std::map<std::string, Address>& constants,
    const std::string& precision, const std::string& driver, int device,
    const std::string& launch_options, const std::string& machine) {
  const pybind11::gil_scoped_release release;
  ConstantBytes bytes;
  for (const auto& [name, address] : constants) {
    bytes[name] = {reinterpret_cast<const std::byte*>(address.first), address.second};
  }
  cuda::LaunchOptions options = cuda::parse_options(launch_options);
  if (!machine.empty()) options.machine = cuda::parse_machine(machine);
  return std::make_unique<cuda::Executor>(parse_plan(json), bytes, cuda::parse_precision(precision),
                                          parse_driver(driver), device, options);
}

inline void run_cuda_executor(cuda::Executor& executor, std::uintptr_t input,
                              const std::array<std::int64_t, 4>& strides, int batch,
                              std::uintptr_t arena, std::uintptr_t counters,
                              const std::vector<std::uintptr_t>& outputs, std::uintptr_t stream,
                              std::uintptr_t records) {
  const pybind11::gil_scoped_release release;
  cuda::Call call;
  call.input = reinterpret_cast<const void*>(input);
  call.input_strides = strides;
  call.batch = batch;
  call.arena = reinterpret_cast<void*>(arena);
  call.counters = reinterpret_cast<void*>(counters);
  for (std::uintptr_t output : outputs) call.outputs.push_back(reinterpret_cast<void*>(output));
  call.records = reinterpret_cast<cuda::TileRecord*>(records);
  call.stream = stream;
  executor.run(call);
}

inline void bind_cuda_executor(pybind11::module_& m) {
  namespace py = pybind11;
  m.def(
      "tile_shapes",
      [] {
        std::vector<std::pair<int, int>> result;
        for (const cuda::TileShape& shape : cuda::kShapes) {
          result.emplace_back(shape.rows, shape.columns);
        }
        return result;
      },
      "Output pixels and channels of each shape that a tile may have.");
  m.def(
      "shared_bytes",
      [] {
        int throughput = 0;
        for (const cuda::TileShape& shape : cuda::kShapes) {
          if (shape.throughput) throughput = std::max(throughput, shape.shared_bytes());
        }
        const int usual = cuda::kSharedBytes;
        return std::map<std::string, int>{
            {"stage", usual}, {"throughput", std::max(usual, throughput)}, {"network", usual}};
      },
      "Most shared memory of a block in a launch of each kernel, in bytes; a pair's: shapes().");
  m.def(
      "device_limits",
      [](int device) {
        const cuda::DeviceLimits limits = cuda::limits_of(device);
        return std::map<std::string, int>{{"multiprocessors", limits.multiprocessors},
                                          {"shared_bytes", limits.shared_bytes},
                                          {"largest_cluster", 1 << limits.cluster_log2},
                                          {"overlap", limits.overlap}};
      },
      py::arg("device"), "What a device and the code built for it can do.");
  // Both modules have a class of this name, and one process may load both.
  py::class_<cuda::Executor>(m, "CudaExecutor", py::module_local())
      .def(py::init(&make_cuda_executor), py::arg("plan"), py::arg("constants"),
           py::arg("precision"), py::arg("driver"), py::arg("device"), py::arg("options") = "",
           py::arg("machine") = "")
      .def("run", &run_cuda_executor, py::arg("input"), py::arg("strides"), py::arg("batch"),
           py::arg("arena"), py::arg("counters"), py::arg("outputs"), py::arg("stream"),
           py::arg("records") = 0,
           "Enqueues one forward pass; strides are of [N, C, H, W], in elements. At `records`, if "
           "not 0, are tiles(batch) zeroed records of the layout in cuda/launch/tile_record.h.")
      .def("arena_bytes", &cuda::Executor::arena_bytes, py::arg("batch"))
      .def("counter_bytes", &cuda::Executor::counter_bytes, py::arg("batch"))
      .def("tiles", &cuda::Executor::tiles, py::arg("batch"), "Of all launches.")
      .def("tile_shapes", &cuda::Executor::tile_shapes, py::arg("batch"),
           "Of each convolution between buffers, which of the module's tile_shapes() its tiles "
           "have.")
      .def("launches", &cuda::Executor::launches, "The names of the steps of each launch.")
      .def(
          "shapes",
          [](const cuda::Executor& executor) {
            std::vector<std::pair<int, int>> result;
            for (const cuda::StageLaunch& launch : executor.shapes()) {
              result.emplace_back(1 << launch.cluster_log2, launch.shared_bytes);
            }
            return result;
          },
          "Of each launch, the blocks of a cluster and the bytes of shared memory of a block.")
      .def_property_readonly("weight_bytes", &cuda::Executor::weight_bytes);
}

// Makes DeviceError and OptionError arrive in Python as DeviceError and InputError of
// inception_fast.errors.
inline void translate_device_errors() {
  pybind11::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const cuda::DeviceError& error) {
      const auto type = pybind11::module_::import("inception_fast.errors").attr("DeviceError");
      PyErr_SetString(type.ptr(), error.what());
    } catch (const cuda::OptionError& error) {
      const auto type = pybind11::module_::import("inception_fast.errors").attr("InputError");
      PyErr_SetObject(type.ptr(), type(error.option, error.got, error.expected).ptr());
    }
  });
}

}  // namespace ifast
