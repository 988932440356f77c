#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "plan/fields.h"
#include "plan/json.h"

// JSON values into the structs of plan.h, as inception_fast/plan/serialize.py does: every field
// there, none besides, each of its own type. `where` is the path of the value, for messages. All
// overloads throw EngineError.
namespace ifast {

[[noreturn]] inline void refuse(const std::string& where, const std::string& expected) {
  throw EngineError(where + ": expected " + expected);
}

template <class T>
const T& typed(const json::Value& value, const std::string& where, const char* expected) {
  const T* result = value.as<T>();
  if (result == nullptr) refuse(where, expected);
  return *result;
}

inline void decode(const json::Value& value, bool& out, const std::string& where) {
  out = typed<bool>(value, where, "true or false");
}

inline void decode(const json::Value& value, std::string& out, const std::string& where) {
  out = typed<std::string>(value, where, "a string");
}

inline void decode(const json::Value& value, std::int64_t& out, const std::string& where) {
  out = typed<std::int64_t>(value, where, "an integer");
}

inline void decode(const json::Value& value, int& out, const std::string& where) {
  const auto wide = typed<std::int64_t>(value, where, "an integer");
  if (!std::in_range<int>(wide)) refuse(where, "an integer of 32 bits");
  out = static_cast<int>(wide);
}

inline void decode(const json::Value& value, double& out, const std::string& where) {
  if (const auto* whole = value.as<std::int64_t>()) {
    out = static_cast<double>(*whole);
  } else {
    out = typed<double>(value, where, "a number");
  }
}

inline void decode(const json::Value& value, json::Object& out, const std::string& where) {
  out = typed<json::Object>(value, where, "an object");
}

template <class Enum>
  requires(kNames<Enum>.size() != 0)
void decode(const json::Value& value, Enum& out, const std::string& where) {
  const auto& name = typed<std::string>(value, where, "a string");
  for (std::size_t i = 0; i < kNames<Enum>.size(); ++i) {
    if (kNames<Enum>[i] == name) {
      out = static_cast<Enum>(i);
      return;
    }
  }
  refuse(where, "another word than '" + name.substr(0, 40) + "'");
}

// Declared ahead, as they call one another.
template <HasFields T>
void decode(const json::Value& value, T& out, const std::string& where);
template <class T>
void decode(const json::Value& value, std::optional<T>& out, const std::string& where);
template <class T>
void decode(const json::Value& value, std::vector<T>& out, const std::string& where);
template <class T, std::size_t n>
void decode(const json::Value& value, std::array<T, n>& out, const std::string& where);
template <class T, class Less>
void decode(const json::Value& value, std::map<std::string, T, Less>& out,
            const std::string& where);
template <class... Alternatives>
void decode(const json::Value& value, std::variant<Alternatives...>& out, const std::string& where);

inline void decode(const json::Value& value, Pair& out, const std::string& where) {
  std::array<int, 2> both{};
  decode(value, both, where);
  out = {both[0], both[1]};
}

// What a field that may be left out has where it is. A Plan has one form: it must be left out then.
inline bool is_default(const json::Value& value) {
  const auto* whole = value.as<std::int64_t>();
  const auto* number = value.as<double>();
  const auto* flag = value.as<bool>();
  return value.as<std::nullptr_t>() != nullptr || (whole != nullptr && *whole == 0) ||
         (number != nullptr && *number == 0) || (flag != nullptr && !*flag);
}

template <HasFields T>
void decode(const json::Value& value, T& out, const std::string& where) {
  const auto& object = typed<json::Object>(value, where, "an object");
  std::size_t known = !kKind<T>.empty();
  const auto each = [&](const auto& field) {
    const std::string path = where + "." + std::string(field.name);
    const json::Value* found = json::find(object, field.name);
    if (found == nullptr && field.optional) return;
    if (found == nullptr) refuse(path, "the key to be there");
    if (field.optional && is_default(*found)) refuse(path, "no key for null or 0");
    decode(*found, out.*field.member, path);
    ++known;
  };
  std::apply([&](const auto&... field) { (each(field), ...); }, kFields<T>);
  if (object.size() != known) refuse(where, "no unknown key");
}

template <class T>
void decode(const json::Value& value, std::optional<T>& out, const std::string& where) {
  out.reset();
  if (!value.as<std::nullptr_t>()) decode(value, out.emplace(), where);
}

template <class T>
void decode(const json::Value& value, std::vector<T>& out, const std::string& where) {
  const auto& array = typed<json::Array>(value, where, "an array");
  out.resize(array.size());
  for (std::size_t i = 0; i < array.size(); ++i) {
    decode(array[i], out[i], where + "[" + std::to_string(i) + "]");
  }
}

template <class T, std::size_t n>
void decode(const json::Value& value, std::array<T, n>& out, const std::string& where) {
  const auto& array = typed<json::Array>(value, where, "an array");
  if (array.size() != n) refuse(where, std::to_string(n) + " items");
  for (std::size_t i = 0; i < n; ++i)
    decode(array[i], out[i], where + "[" + std::to_string(i) + "]");
}

template <class T, class Less>
void decode(const json::Value& value, std::map<std::string, T, Less>& out,
            const std::string& where) {
  out.clear();
  for (const auto& [key, item] : typed<json::Object>(value, where, "an object")) {
    decode(item, out[key], where + "['" + key + "']");
  }
}

// Structs told apart by their "kind".
template <class... Alternatives>
void decode(const json::Value& value, std::variant<Alternatives...>& out,
            const std::string& where) {
  const json::Value* kind = json::find(typed<json::Object>(value, where, "an object"), "kind");
  const std::string* name = kind == nullptr ? nullptr : kind->as<std::string>();
  if (name == nullptr) refuse(where + ".kind", "a string");
  const auto decode_if = [&]<class T>(std::in_place_type_t<T>) {
    if (kKind<T> != *name) return false;
    decode(value, out.template emplace<T>(), where);
    return true;
  };
  if (!(decode_if(std::in_place_type<Alternatives>) || ...)) {
    refuse(where + ".kind", "another word than '" + name->substr(0, 40) + "'");
  }
}

}  // namespace ifast
