#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "bindings/cuda_executor.h"
#include "cuda/launch/launch_work.h"
#include "cuda/launch/tile_code.h"

// The CUDA backend's time model, which needs no GPU.
namespace ifast {

// The launches of a Plan at a batch size, as they are built for `machine` with its largest
// clusters.
struct DescribedPlan {
  std::vector<cuda::LaunchWork> work;
  cuda::Conditions conditions;
};

inline DescribedPlan describe_plan(const std::string& json, int batch, const std::string& precision,
                                   const std::string& driver, const cuda::MachineConstants& machine,
                                   const std::string& launch_options) {
  if (batch < 1)
    throw std::invalid_argument("batch: got " + std::to_string(batch) + ", expected 1 or more");
  const Plan plan = parse_plan(json);
  // No weight matters: all constants are the same zeros.
  const auto size_of_constant = [](const Constant& constant) {
    std::size_t size = size_of(constant.dtype);
    for (std::int64_t extent : constant.shape) size *= static_cast<std::size_t>(extent);
    return size;
  };
  std::size_t most = 0;
  for (const auto& [name, constant] : plan.constants) {
    most = std::max(most, size_of_constant(constant));
  }
  const std::vector<std::byte> zeros(most);
  ConstantBytes constants;
  for (const auto& [name, constant] : plan.constants) {
    constants[name] = std::span(zeros).first(size_of_constant(constant));
  }
  const cuda::DeviceLimits limits{static_cast<int>(machine.multiprocessors), 227 << 10, 3, true};
  const cuda::Driver kind = parse_driver(driver);
  const cuda::Precision format = cuda::parse_precision(precision);
  cuda::LaunchOptions options = cuda::parse_options(launch_options);
  options.machine = machine;
  const cuda::Program program = cuda::build_program(plan, constants, format, kind, limits, options);
  return {cuda::work_of(program, batch, format), cuda::conditions_of(program, batch, format, kind)};
}

inline void bind_time_model(pybind11::module_& m) {
  namespace py = pybind11;
  using cuda::Bound;
  using cuda::Conditions;
  using cuda::HandOver;
  using cuda::LaunchTime;
  using cuda::LaunchWork;
  using cuda::MachineConstants;
  using cuda::StepWork;
  using cuda::TileCode;

  py::class_<MachineConstants> machine(m, "MachineConstants");
  machine.def(py::init<>());
  for (const cuda::MachineField& field : cuda::kMachineFields) {
    machine.def_property(
        std::string(field.name).c_str(),
        [member = field.member](const MachineConstants& self) { return self.*member; },
        [member = field.member](MachineConstants& self, double value) { self.*member = value; });
  }
  m.def("parse_machine", &cuda::parse_machine, py::arg("json"),
        "The constants in the text of a file; see inception_fast.tuning.machine_constants.");
  m.def(
      "machine_fields",
      [] {
        py::list fields;
        for (const cuda::MachineField& field : cuda::kMachineFields) {
          fields.append(py::make_tuple(field.name, MachineConstants{}.*field.member, field.unit,
                                       field.source));
        }
        return fields;
      },
      "Name, default, unit and source of each constant.");

  py::class_<TileCode>(m, "TileCode")
      .def(py::init<>())
      .def_readwrite("rows", &TileCode::rows)
      .def_readwrite("columns", &TileCode::columns)
      .def_readwrite("warps", &TileCode::warps)
      .def_readwrite("unit_rows", &TileCode::unit_rows)
      .def_readwrite("unit_columns", &TileCode::unit_columns)
      .def_readwrite("chunk_bytes", &TileCode::chunk_bytes)
      .def_readwrite("ring", &TileCode::ring)
      .def_readwrite("instructions", &TileCode::instructions)
      .def_readwrite("outside", &TileCode::outside)
      .def_readwrite("products", &TileCode::products)
      .def_readwrite("warpgroup", &TileCode::warpgroup)
      .def_readwrite("resident", &TileCode::resident);
  py::class_<StepWork>(m, "StepWork")
      .def(py::init<>())
      .def_readwrite("name", &StepWork::name)
      .def_readwrite("code", &StepWork::code)
      .def_readwrite("blocks", &StepWork::blocks)
      .def_readwrite("chunks", &StepWork::chunks)
      .def_readwrite("parts", &StepWork::parts)
      .def_readwrite("reads", &StepWork::reads)
      .def_readwrite("barriers", &StepWork::barriers)
      .def_readwrite("l2_bytes", &StepWork::l2_bytes)
      .def_readwrite("weight_bytes", &StepWork::weight_bytes)
      .def_readwrite("activation_bytes", &StepWork::activation_bytes);
  py::enum_<HandOver>(m, "HandOver")
      .value("dependent_launch", HandOver::kDependentLaunch)
      .value("graph_edge", HandOver::kGraphEdge)
      .value("counter", HandOver::kCounter);
  py::class_<Conditions>(m, "Conditions")
      .def(py::init<>())
      .def_readwrite("hand_over", &Conditions::hand_over)
      .def_readwrite("lines_lost", &Conditions::lines_lost)
      .def_readwrite("working_set", &Conditions::working_set)
      .def_readwrite("resident", &Conditions::resident);
  py::class_<LaunchTime>(m, "LaunchTime")
      .def_readonly("total", &LaunchTime::total)
      .def_readonly("hand_over", &LaunchTime::hand_over)
      .def_readonly("prologue", &LaunchTime::prologue)
      .def_readonly("loop", &LaunchTime::loop)
      .def_readonly("partials", &LaunchTime::partials)
      .def_readonly("epilogue", &LaunchTime::epilogue)
      .def_readonly("l2_bytes", &LaunchTime::l2_bytes)
      .def_readonly("hbm_bytes", &LaunchTime::hbm_bytes)
      .def_property_readonly("bound", [](const LaunchTime& time) { return name_of(time.bound); });
  m.def(
      "tile_codes",
      [](const std::string& precision) {
        return cuda::tile_codes(cuda::parse_precision(precision));
      },
      py::arg("precision"), "What the model takes the loop of each tile shape to be.");
  m.def(
      "predict_launch",
      [](const std::vector<StepWork>& steps, const MachineConstants& machine,
         const Conditions& conditions) { return predict(LaunchWork{steps}, machine, conditions); },
      py::arg("steps"), py::arg("machine"), py::arg("conditions"),
      "Microseconds of one launch, in parts.");
  m.def(
      "describe",
      [](const std::string& plan, int batch, const std::string& precision,
         const std::string& driver, const MachineConstants& machine, const std::string& options) {
        DescribedPlan described = describe_plan(plan, batch, precision, driver, machine, options);
        std::vector<std::vector<StepWork>> steps;
        for (LaunchWork& work : described.work) steps.push_back(std::move(work.steps));
        return std::pair(steps, described.conditions);
      },
      py::arg("plan"), py::arg("batch"), py::arg("precision"), py::arg("driver"),
      py::arg("machine"), py::arg("options") = "",
      "The steps of each launch of a Plan, and its conditions.");
  m.def(
      "predict",
      [](const std::string& plan, int batch, const std::string& precision,
         const std::string& driver, const MachineConstants& machine, const std::string& options) {
        const DescribedPlan described =
            describe_plan(plan, batch, precision, driver, machine, options);
        std::vector<LaunchTime> times;
        for (const LaunchWork& work : described.work) {
          times.push_back(predict(work, machine, described.conditions));
        }
        return times;
      },
      py::arg("plan"), py::arg("batch"), py::arg("precision"), py::arg("driver"),
      py::arg("machine"), py::arg("options") = "", "Microseconds of each launch of a Plan.");
}

}  // namespace ifast
