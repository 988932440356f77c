#include <pybind11/pybind11.h>
#include <pybind11/stl/filesystem.h>

#include "bindings/errors.h"
#include "plan/engine_file.h"
#include "plan/fields.h"

// What C++ read, as the Python objects that json.loads would make of it: for tests, which compare
// it with Python's own view.
namespace ifast {
namespace {

namespace py = pybind11;

template <class T>
py::object to_python(const T& value) {
  return py::cast(value);
}

template <class T>
  requires(kNames<T>.size() != 0)
py::object to_python(const T& value) {
  return py::cast(kNames<T>[static_cast<std::size_t>(value)]);
}

template <HasFields T>
py::object to_python(const T& value);
template <class T>
py::object to_python(const std::optional<T>& value);
template <class T>
py::object to_python(const std::vector<T>& values);
template <class T, std::size_t n>
py::object to_python(const std::array<T, n>& values);
template <class T, class Less>
py::object to_python(const std::map<std::string, T, Less>& values);
template <class... Alternatives>
py::object to_python(const std::variant<Alternatives...>& value);

py::object to_python(const std::nullptr_t&) { return py::none(); }

py::object to_python(const Pair& pair) {
  return to_python(std::array{pair.vertical, pair.horizontal});
}

py::object to_python(const std::span<const std::byte>& bytes) {
  return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

py::object to_python(const json::Value& value) { return to_python(value.data); }

py::object to_python(const json::Object& object) {
  py::dict result;
  for (const auto& [key, value] : object) result[py::str(key)] = to_python(value);
  return result;
}

template <HasFields T>
py::object to_python(const T& value) {
  py::dict result;
  if (!kKind<T>.empty()) result["kind"] = kKind<T>;
  const auto add = [&](const auto& field) {
    const py::object member = to_python(value.*field.member);
    if (field.optional && (member.is_none() || member.equal(py::int_(0)))) return;
    result[py::str(field.name)] = member;
  };
  std::apply([&](const auto&... field) { (add(field), ...); }, kFields<T>);
  return result;
}

template <class T>
py::object to_python(const std::optional<T>& value) {
  return value ? to_python(*value) : py::none();
}

template <class T>
py::object to_python(const std::vector<T>& values) {
  py::list result;
  for (const T& value : values) result.append(to_python(value));
  return result;
}

template <class T, std::size_t n>
py::object to_python(const std::array<T, n>& values) {
  return to_python(std::vector<T>(values.begin(), values.end()));
}

template <class T, class Less>
py::object to_python(const std::map<std::string, T, Less>& values) {
  py::dict result;
  for (const auto& [key, value] : values) result[py::str(key)] = to_python(value);
  return result;
}

template <class... Alternatives>
py::object to_python(const std::variant<Alternatives...>& value) {
  return std::visit([](const auto& alternative) { return to_python(alternative); }, value);
}

py::dict describe(const EngineFile& engine) {
  py::dict result;
  result["plan"] = to_python(engine.plan);
  result["metadata"] = to_python(engine.metadata);
  result["constants"] = to_python(engine.constants);
  return result;
}

py::dict read_file(const std::filesystem::path& path, const std::string& layout) {
  const auto engine = [&] {
    const py::gil_scoped_release released;
    return read_engine(path.string(), layout);
  }();
  return describe(engine);
}

py::dict read_bytes(const py::bytes& contents, const std::string& layout) {
  const std::string_view view = contents;
  return describe(read_engine(std::as_bytes(std::span(view)), layout));
}

}  // namespace

void bind_plan(py::module_& m) {
  m.def("read_engine", &read_file, py::arg("path"), py::arg("layout"),
        "Plan, metadata and constants (bytes by name) of an engine file, read by C++. Raises "
        "EngineFileError.");
  m.def("read_engine_bytes", &read_bytes, py::arg("contents"), py::arg("layout"),
        "The same from the contents of a file.");
  m.def(
      "parse_plan",
      [](const py::bytes& json) { return to_python(parse_plan(std::string_view(json))); },
      py::arg("json"),
      "A Plan from its JSON form, read and checked by C++. Raises EngineFileError.");
}

}  // namespace ifast
