#include "cuda/launch/machine_constants.h"

#include <string>

#include "plan/decode.h"

namespace ifast::cuda {
namespace {

const json::Value& member(const json::Object& object, std::string_view key,
                          const std::string& where) {
  const json::Value* found = json::find(object, key);
  if (found == nullptr) refuse(where + "." + std::string(key), "the key to be there");
  return *found;
}

}  // namespace

MachineConstants parse_machine(std::string_view text) {
  const json::Value document = json::parse(text);
  const auto& file = typed<json::Object>(document, "machine", "an object");
  const std::string where = "machine.constants";
  const auto& constants =
      typed<json::Object>(member(file, "constants", "machine"), where, "an object");
  MachineConstants machine;
  for (const MachineField& field : kMachineFields) {
    const std::string path = where + "." + std::string(field.name);
    const auto& constant =
        typed<json::Object>(member(constants, field.name, where), path, "an object");
    std::string unit;
    decode(member(constant, "unit", path), unit, path + ".unit");
    if (unit != field.unit) refuse(path + ".unit", std::string(field.unit) + ", not " + unit);
    double& value = machine.*field.member;
    decode(member(constant, "value", path), value, path + ".value");
    if (!(value > 0)) refuse(path + ".value", "a positive number");
  }
  if (constants.size() != kMachineFields.size()) refuse(where, "no unknown constant");
  return machine;
}

}  // namespace ifast::cuda
