#pragma once

#include <pybind11/pybind11.h>

#include <exception>
#include <string_view>

#include "plan/plan.h"

namespace ifast {

// Makes EngineError arrive in Python as inception_fast.errors.EngineFileError; once for each
// module.
inline void translate_errors() {
  pybind11::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const EngineError& error) {
      const std::string_view what = error.what();
      // A path need not be UTF-8, and a quotation may end within a character.
      const auto message = pybind11::reinterpret_steal<pybind11::object>(
          PyUnicode_DecodeUTF8(what.data(), static_cast<Py_ssize_t>(what.size()), "replace"));
      const auto type = pybind11::module_::import("inception_fast.errors").attr("EngineFileError");
      PyErr_SetObject(type.ptr(), message.ptr());
    }
  });
}

}  // namespace ifast
