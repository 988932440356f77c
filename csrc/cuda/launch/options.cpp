#include "cuda/launch/options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <utility>

namespace ifast::cuda {
namespace {

std::string quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

template <class T, std::size_t n>
T chosen(const std::string& key, std::string_view value,
         const std::array<std::pair<std::string_view, T>, n>& choices) {
  std::string names;
  for (const auto& [name, result] : choices) {
    if (value == name) return result;
    names += (names.empty() ? "" : ", ") + quoted(name);
  }
  throw OptionError(key, quoted(value), "one of " + names);
}

int number(const std::string& key, std::string_view value, int least, int most) {
  int result = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
  if (error != std::errc{} || end != value.data() + value.size() || result < least ||
      result > most) {
    throw OptionError(key, quoted(value),
                      "a number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return result;
}

template <class T>
using Choice = std::pair<std::string_view, T>;

constexpr std::array<Choice<bool>, 2> kSwitch{{{"0", false}, {"1", true}}};
constexpr std::array<Choice<Trigger>, 3> kTriggers{
    {{"early", Trigger::kEarly}, {"late", Trigger::kLate}, {"none", Trigger::kNone}}};

// "auto" is -1.
int shape_of(std::string_view value) {
  std::string names = "'auto'";
  if (value == "auto") return -1;
  for (int i = 0; i < kShapeCount; ++i) {
    const std::string name =
        std::to_string(kShapes[i].rows) + "x" + std::to_string(kShapes[i].columns);
    if (value == name) return i;
    names += ", " + quoted(name);
  }
  throw OptionError("shape", quoted(value), "one of " + names);
}

void set(LaunchOptions& options, const std::string& key, std::string_view value) {
  if (key == "overlap") {
    options.overlap = chosen(key, value, kSwitch);
  } else if (key == "trigger") {
    options.trigger = chosen(key, value, kTriggers);
  } else if (key == "shortest") {
    options.shortest = number(key, value, 1, 1 << 30);
  } else if (key == "waves") {
    options.waves = number(key, value, 1, 16);
  } else if (key == "shape") {
    options.shape = shape_of(value);
  } else if (key == "blocks") {
    options.blocks = number(key, value, 0, 32);
  } else {
    throw OptionError("option", quoted(key),
                      "one of 'overlap', 'trigger', 'shortest', 'waves', 'shape', 'blocks'");
  }
}

}  // namespace

LaunchOptions parse_options(const std::string& text) {
  LaunchOptions options;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), item.size() + 1));
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos) {
      throw OptionError("option", quoted(item), "key=value");
    }
    set(options, std::string(item.substr(0, equals)), item.substr(equals + 1));
  }
  return options;
}

}  // namespace ifast::cuda
