#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "plan/json.h"
#include "plan/plan.h"

// The .ifast file; docs/engine-file.md is the specification. Every function here may be called from
// several threads at once.
namespace ifast {

inline constexpr std::string_view kCanonicalLayout = "canonical";

// Of images that are not [N, C, H, W].
enum class InputLayout { kNhwc };

// What a caller must know to use a Plan as the model it came from.
struct Metadata {
  std::string precision;  // fp64, fp32, tf32, fp16, bf16 or int8
  bool batch_invariant = false;
  std::array<int, 3> input_shape{};  // per image: channels, height, width
  Dtype input_dtype = Dtype::kFloat32;
  json::Object structure;  // how the outputs are nested; only its tensors are counted here
  std::string layout;      // how the constants are packed
  std::string producer;
  std::string report;                                      // text for people
  std::optional<Dtype> output_dtype = std::nullopt;        // where it is not the input's
  std::optional<InputLayout> input_layout = std::nullopt;  // of the caller's images; else NCHW
};

struct EngineFile {
  Plan plan;
  Metadata metadata;
  ConstantBytes constants;  // each starts on a multiple of 64 bytes of the file
  std::shared_ptr<const void>
      mapping;  // what `constants` point into; null where the caller owns it
};

// Maps the file into memory, privately and read-only: it may be replaced or deleted meanwhile, but
// not truncated in place. Throws EngineError where it cannot be opened, is damaged, hostile, of a
// newer format, or packed for another layout.
EngineFile read_engine(const std::string& path, std::string_view layout = kCanonicalLayout);

// The same from the contents of a file, which must outlive the result.
EngineFile read_engine(std::span<const std::byte> contents,
                       std::string_view layout = kCanonicalLayout);

// Parses and checks the JSON form of a Plan that never was in a file. Throws EngineError.
Plan parse_plan(std::string_view json);

// Throws EngineError unless `constants` has exactly the Plan's constants, each of the size that its
// shape says, and no bias that a quantised sum would overflow with.
void check_constants(const Plan& plan, const ConstantBytes& constants);

}  // namespace ifast
