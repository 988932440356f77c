#include "plan/engine_file.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "plan/check.h"
#include "plan/crc32.h"
#include "plan/decode.h"
#include "plan/mapping.h"
#include "plan/structure.h"

static_assert(std::endian::native == std::endian::little, "engine files are read in place");

namespace ifast {

// Bytes of one constant in the constants' section.
struct Place {
  std::int64_t offset = 0;
  std::int64_t length = 0;
};

// The JSON part of the file.
struct Document {
  Plan plan;
  std::map<std::string, Place> constants;
  Metadata metadata;
};

template <>
inline constexpr auto kFields<Place> =
    std::tuple{Field{"offset", &Place::offset}, Field{"length", &Place::length}};

template <>
inline constexpr auto kFields<Document> =
    std::tuple{Field{"plan", &Document::plan}, Field{"constants", &Document::constants},
               Field{"metadata", &Document::metadata}};

namespace {

constexpr std::array<unsigned char, 8> kMagic{0x89, 'I', 'F', 'A', 'S', 'T', '\r', '\n'};
constexpr std::uint32_t kFormat = 6;  // format_of() says what needs it
constexpr std::uint64_t kMaxJson = 1 << 24;
constexpr std::uint64_t kSectionAlignment = 4096;
constexpr std::int64_t kConstantAlignment = 64;

struct Header {
  std::array<unsigned char, 8> magic;
  std::uint32_t format;
  std::uint32_t checksum;  // of everything but itself
  std::uint64_t text_length;
  std::uint64_t constants_length;
};
static_assert(sizeof(Header) == 32);
constexpr std::size_t kChecksumEnd = offsetof(Header, text_length);

struct Sections {
  std::uint32_t format;
  std::string_view text;
  std::span<const std::byte> constants;
};

void require(bool condition, const std::string& problem) {
  if (!condition) throw EngineError(problem);
}

Sections check_header(std::span<const std::byte> contents) {
  const std::string size = std::to_string(contents.size()) + " bytes";
  Header header{};
  // An empty file has no address.
  if (!contents.empty()) {
    std::memcpy(&header, contents.data(), std::min(contents.size(), sizeof header));
  }
  require(header.magic == kMagic, "not an engine file");
  require(contents.size() >= sizeof header, "truncated: " + size + ", less than the header");
  require(header.format <= kFormat, "made by a newer version of inception_fast: format " +
                                        std::to_string(header.format) + ", this one reads up to " +
                                        std::to_string(kFormat));
  require(header.format >= 1, "there is no format 0");
  require(header.text_length <= kMaxJson,
          "too much JSON: " + std::to_string(header.text_length) + " bytes");
  const std::uint64_t start = (sizeof header + header.text_length + kSectionAlignment - 1) /
                              kSectionAlignment * kSectionAlignment;
  require(contents.size() >= start && contents.size() - start >= header.constants_length,
          "truncated: " + size + ", less than the header announces");
  require(contents.size() - start == header.constants_length,
          size + ", more than the header announces");
  const std::uint32_t before = crc32(contents.first(offsetof(Header, checksum)));
  require(crc32(contents.subspan(kChecksumEnd), before) == header.checksum,
          "the checksum does not match: the file is damaged");
  const auto text = contents.subspan(sizeof header, header.text_length);
  return {header.format,
          {reinterpret_cast<const char*>(text.data()), text.size()},
          contents.subspan(start)};
}

std::int64_t byte_size(const Constant& constant) {
  // check() has bounded the number of elements.
  std::int64_t size = static_cast<std::int64_t>(size_of(constant.dtype));
  for (const std::int64_t extent : constant.shape) size *= extent;
  return size;
}

// Whether biases of quantised sums, int32, are small enough for their sums.
bool are_biases(std::span<const std::byte> values) {
  for (std::size_t at = 0; at < values.size(); at += sizeof(std::int32_t)) {
    std::int32_t value;
    std::memcpy(&value, values.data() + at, sizeof value);
    if (value < -kMaxQuantizedBias || value > kMaxQuantizedBias) return false;
  }
  return true;
}

void check_metadata(const Plan& plan, const Metadata& metadata) {
  static const std::map<std::string_view, Dtype> kPrecisions{
      {"fp64", Dtype::kFloat64}, {"fp32", Dtype::kFloat32},  {"tf32", Dtype::kFloat32},
      {"fp16", Dtype::kFloat16}, {"bf16", Dtype::kBFloat16}, {"int8", Dtype::kUInt8}};
  const auto precision = kPrecisions.find(metadata.precision);
  require(precision != kPrecisions.end() && precision->second == plan.dtype,
          "metadata.precision: got '" + metadata.precision + "' for a Plan in " +
              std::string(name_of(plan.dtype)));
  const Buffer& input = plan.buffers[static_cast<std::size_t>(plan.input())];
  require(
      input.dtype ? metadata.input_dtype == *input.dtype : metadata.input_dtype <= Dtype::kFloat64,
      "metadata.input_dtype: no type of images that the Plan takes");
  require(metadata.output_dtype.has_value() == input.dtype.has_value() &&
              metadata.output_dtype.value_or(Dtype::kFloat32) <= Dtype::kFloat64,
          "metadata.output_dtype: a float type where, and only where, the input is bytes");
  require(metadata.input_shape == std::array{input.channels, input.height, input.width},
          "metadata.input_shape: the Plan takes another shape");
  const std::size_t tensors = tensors_in(metadata.structure);
  require(tensors == plan.outputs.size(), "metadata.structure: " + std::to_string(tensors) +
                                              " tensors, the Plan gives " +
                                              std::to_string(plan.outputs.size()));
}

// Kinds of steps, and fields of them, that came with format 5.
template <class... New>
bool holds(const Step& step) {
  return (std::holds_alternative<New>(step) || ...);
}

bool is_of_format_5(const Step& step) {
  const auto* pool = std::get_if<PoolStep>(&step);
  return holds<DepthwiseStep, SoftmaxStep, LocalResponseStep, GateStep>(step) ||
         (pool != nullptr && pool->adaptive) ||
         std::ranges::any_of(destinations_of(step),
                             [](const Destination& d) { return d.activation.has_value(); });
}

// The oldest format that a Plan can be written in, with what a caller must know.
std::uint32_t format_of(const Plan& plan, const Metadata& metadata) {
  if (plan.buffers[static_cast<std::size_t>(plan.input())].dtype ||
      std::ranges::any_of(plan.steps, holds<PadStep>) || metadata.output_dtype ||
      metadata.input_layout) {
    return 6;
  }
  if (std::ranges::any_of(plan.steps, is_of_format_5)) return 5;
  const auto any = [&](const auto& member) {
    return std::ranges::any_of(plan.steps, [&](const Step& step) {
      return std::ranges::any_of(convolutions_of(step), [&](const Convolution* conv) {
        return (conv->*member).has_value();
      });
    });
  };
  if (any(&Convolution::sensitivity)) return 4;
  if (plan.dtype != Dtype::kUInt8) return 1;
  return any(&Convolution::winograd) ? 3 : 2;
}

// Bytes of each constant, which must lie aligned in the section and apart from one another.
ConstantBytes place_constants(const Document& document, std::span<const std::byte> section) {
  std::vector<std::pair<std::int64_t, std::int64_t>> taken;
  ConstantBytes constants;
  const auto end = static_cast<std::int64_t>(section.size());
  for (const auto& [name, place] : document.constants) {
    require(place.offset >= 0 && place.offset % kConstantAlignment == 0 && place.length >= 0 &&
                place.offset <= end && place.length <= end - place.offset,
            "constant " + name + ": misaligned or outside the section of constants");
    taken.emplace_back(place.offset, place.length);
    constants[name] = section.subspan(static_cast<std::size_t>(place.offset),
                                      static_cast<std::size_t>(place.length));
  }
  std::ranges::sort(taken);
  const auto overlap = std::ranges::adjacent_find(
      taken, [](const auto& a, const auto& b) { return b.first - a.first < a.second; });
  require(overlap == taken.end(), "constants overlap");
  return constants;
}

}  // namespace

Plan parse_plan(std::string_view json) {
  Plan plan;
  decode(json::parse(json), plan, "plan");
  check(plan);
  return plan;
}

void check_constants(const Plan& plan, const ConstantBytes& constants) {
  for (const auto& [name, constant] : plan.constants) {
    const auto found = constants.find(name);
    require(found != constants.end(), "constant " + name + ": missing");
    require(std::ssize(found->second) == byte_size(constant),
            "constant " + name + ": " + std::to_string(found->second.size()) +
                " bytes, its shape and dtype make " + std::to_string(byte_size(constant)));
    require(constant.dtype != Dtype::kInt32 || are_biases(found->second),
            "constant " + name + ": a bias beyond " + std::to_string(kMaxQuantizedBias) +
                ", which a sum of 32 bits has no room for");
  }
  require(constants.size() == plan.constants.size(), "a constant is unknown to the Plan");
}

EngineFile read_engine(std::span<const std::byte> contents, std::string_view layout) {
  const Sections sections = check_header(contents);
  Document document;
  decode(json::parse(sections.text), document, "engine");
  check(document.plan);
  const std::uint32_t needed = format_of(document.plan, document.metadata);
  require(sections.format >= needed, "a Plan of format " + std::to_string(needed) +
                                         " in a file of format " + std::to_string(sections.format));
  const Metadata& metadata = document.metadata;
  require(metadata.layout == layout, "the constants are packed for '" + metadata.layout +
                                         "', not for '" + std::string(layout) + "'");
  check_metadata(document.plan, metadata);
  ConstantBytes constants = place_constants(document, sections.constants);
  check_constants(document.plan, constants);
  return {std::move(document.plan), std::move(document.metadata), std::move(constants), nullptr};
}

EngineFile read_engine(const std::string& path, std::string_view layout) try {
  auto mapping = std::make_shared<const Mapping>(path);
  EngineFile engine = read_engine(mapping->contents(), layout);
  engine.mapping = std::move(mapping);
  return engine;
} catch (const EngineError& error) {
  throw EngineError(path + ": " + error.what());
}

}  // namespace ifast
