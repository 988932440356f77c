#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cpu/base/thread_pool.h"
#include "cpu/kernels/peak.h"
#include "cpu/runtime/executor.h"
#include "plan/engine_file.h"

namespace ifast {
namespace {

namespace py = pybind11;

cpu::Isa parse_isa(const std::string& name) {
  for (cpu::Isa isa : cpu::available_isas()) {
    if (cpu::name_of(isa) == name) return isa;
  }
  throw std::invalid_argument("instruction set: got " + name + ", which cannot run here");
}

cpu::Arithmetic parse_arithmetic(const std::string& name) {
  if (name == "fp32") return cpu::Arithmetic::kFloat32;
  if (name == "bf16") return cpu::Arithmetic::kBFloat16;
  if (name == "int8") return cpu::Arithmetic::kInt8;
  throw std::invalid_argument("arithmetic: got " + name + ", expected fp32, bf16 or int8");
}

// Addresses and sizes in bytes, as torch.Tensor.data_ptr() and nbytes give them.
using Address = std::pair<std::uintptr_t, std::size_t>;

std::unique_ptr<cpu::Executor> make_executor(const std::string& json,
                                             const std::map<std::string, Address>& constants,
                                             const std::string& isa, int threads,
                                             const std::string& algorithm,
                                             std::shared_ptr<cpu::NetworkMemory> memory,
                                             const std::map<std::string, py::bytes>& digests) {
  cpu::Options options{parse_isa(isa), threads, algorithm, std::move(memory), {}};
  for (const auto& [name, digest] : digests) options.digests[name] = digest;
  const py::gil_scoped_release release;
  ConstantBytes bytes;
  for (const auto& [name, address] : constants) {
    bytes[name] = {reinterpret_cast<const std::byte*>(address.first), address.second};
  }
  return std::make_unique<cpu::Executor>(parse_plan(json), bytes, options);
}

std::vector<Address> packed_weights(const cpu::Executor& executor) {
  std::vector<Address> pieces;
  for (const auto& weights : executor.weights()) {
    if (weights->arrays.empty()) continue;
    pieces.emplace_back(reinterpret_cast<std::uintptr_t>(weights->arrays.front()), weights->bytes);
  }
  return pieces;
}

// strides: of the [N, C, H, W] input, in elements.
void run(cpu::Executor& executor, std::uintptr_t input,
         const std::array<std::ptrdiff_t, 4>& strides, int batch,
         const std::vector<std::uintptr_t>& outputs, std::vector<cpu::OpReport>* reports) {
  const py::gil_scoped_release release;
  std::vector<void*> pointers(outputs.size());
  std::transform(outputs.begin(), outputs.end(), pointers.begin(),
                 [](std::uintptr_t p) { return reinterpret_cast<void*>(p); });
  cpu::Call call;
  call.input = reinterpret_cast<const void*>(input);
  call.strides = {strides[0], strides[2], strides[3], strides[1]};
  call.batch = batch;
  call.outputs = pointers.data();
  executor.run(call, reports);
}

}  // namespace

void bind_cpu(py::module_& m) {
  m.def(
      "instruction_sets",
      [] {
        std::vector<std::string> names;
        for (cpu::Isa isa : cpu::available_isas()) names.emplace_back(cpu::name_of(isa));
        return names;
      },
      "What the CPU kernels were built for and runs here, slowest first.");
  m.def("usable_processors", cpu::usable_processors,
        "Processors that this process may run on, by its affinity mask.");
  m.def(
      "peak_operations",
      [](const std::string& isa, const std::string& arithmetic, double seconds) {
        const py::gil_scoped_release release;
        return cpu::peak_operations(parse_isa(isa), parse_arithmetic(arithmetic), seconds);
      },
      py::arg("isa"), py::arg("arithmetic"), py::arg("seconds"),
      "Operations a second of one thread that does nothing but multiply and add, in fp32, bf16 or "
      "int8; zero where the processor has no instruction for it.");

  py::class_<cpu::OpReport>(m, "CpuOpReport")
      .def_readonly("step", &cpu::OpReport::step)
      .def_readonly("algorithm", &cpu::OpReport::algorithm)
      .def_readonly("stage", &cpu::OpReport::stage)
      .def_readonly("seconds", &cpu::OpReport::seconds, "Summed over threads.");

  py::class_<cpu::NetworkMemory, std::shared_ptr<cpu::NetworkMemory>>(m, "CpuNetworkMemory")
      .def(py::init<>());

  py::class_<cpu::Executor>(m, "CpuExecutor")
      .def(py::init(&make_executor), py::arg("plan"), py::arg("constants"), py::arg("isa"),
           py::arg("threads"), py::arg("algorithm") = "", py::arg("memory") = nullptr,
           py::arg("digests") = std::map<std::string, py::bytes>())
      .def(
          "run",
          [](cpu::Executor& self, std::uintptr_t input, std::array<std::ptrdiff_t, 4> strides,
             int batch, const std::vector<std::uintptr_t>& outputs) {
            run(self, input, strides, batch, outputs, nullptr);
          },
          py::arg("input"), py::arg("strides"), py::arg("batch"), py::arg("outputs"))
      .def(
          "profile",
          [](cpu::Executor& self, std::uintptr_t input, std::array<std::ptrdiff_t, 4> strides,
             int batch, const std::vector<std::uintptr_t>& outputs) {
            std::vector<cpu::OpReport> reports;
            run(self, input, strides, batch, outputs, &reports);
            return reports;
          },
          py::arg("input"), py::arg("strides"), py::arg("batch"), py::arg("outputs"))
      .def("report", &cpu::Executor::report)
      .def_property_readonly("threads", &cpu::Executor::threads)
      .def_property_readonly("packed_weights", &packed_weights,
                             "The address of each operator's packed weights, and their bytes; "
                             "executors that share them have them at one address.")
      .def_property_readonly("working_bytes", &cpu::Executor::working_bytes);
}

}  // namespace ifast
