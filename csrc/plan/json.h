#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

// The subset of JSON that engine files use; inception_fast/plan/strict_json.py accepts exactly the
// same texts: UTF-8 without lone surrogates, no repeated key, integers of 64 bits, finite numbers,
// at most kMaxDepth nested containers.
namespace ifast::json {

inline constexpr int kMaxDepth = 100;

struct Member;

struct Value;
using Array = std::vector<Value>;
using Object = std::vector<Member>;  // sorted by key

struct Value {
  std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, Array, Object> data;

  template <class T>
  const T* as() const {
    return std::get_if<T>(&data);
  }
};

struct Member {
  std::string key;
  Value value;
};

// The value of that key, or nullptr.
const Value* find(const Object& object, std::string_view key);

// Throws EngineError, which says where the text breaks a rule.
Value parse(std::string_view text);

}  // namespace ifast::json
