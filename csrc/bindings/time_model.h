#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "cuda/launch/time_model.h"

// The CUDA backend's time model, which needs no GPU.
namespace ifast {

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
      .def_readwrite("working_set", &Conditions::working_set);
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
      "predict_launch",
      [](const std::vector<StepWork>& steps, const MachineConstants& machine,
         const Conditions& conditions) { return predict(LaunchWork{steps}, machine, conditions); },
      py::arg("steps"), py::arg("machine"), py::arg("conditions"),
      "Microseconds of one launch, in parts.");
}

}  // namespace ifast
