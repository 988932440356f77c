#include "plan/structure.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "plan/plan.h"

namespace ifast {
namespace {

constexpr std::array<std::string_view, 6> kContainers{"tuple",        "list",       "dict",
                                                      "ordered_dict", "namedtuple", "return_type"};

template <class T>
const T* member(const json::Object& object, std::string_view key) {
  const json::Value* value = json::find(object, key);
  return value == nullptr ? nullptr : value->as<T>();
}

}  // namespace

// As deep as the JSON text, which has its bound.
std::size_t tensors_in(const json::Object& structure) {
  const auto* kind = member<std::string>(structure, "kind");
  if (kind != nullptr && *kind == "tensor") return 1;
  if (kind != nullptr && *kind == "constant") return 0;
  const auto* items = member<json::Array>(structure, "items");
  const bool known = kind != nullptr && std::ranges::find(kContainers, *kind) != kContainers.end();
  if (!known || items == nullptr) {
    throw EngineError("metadata.structure: a node without a kind, or without its items");
  }
  std::size_t count = 0;
  for (const json::Value& item : *items) {
    const auto* node = item.as<json::Object>();
    if (node == nullptr) throw EngineError("metadata.structure: an item is not an object");
    count += tensors_in(*node);
  }
  return count;
}

}  // namespace ifast
