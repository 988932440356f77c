#include "arguments.h"

#include <charconv>
#include <string_view>

namespace {

int parse_number(std::string_view name, std::string_view text, int least) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least) {
    throw UsageError(std::string(name) + ": got '" + std::string(text) +
                     "', expected a whole number from " + std::to_string(least) + " on");
  }
  return value;
}

inception_fast::Backend parse_backend(std::string_view text) {
  using inception_fast::Backend;
  for (const Backend backend : {Backend::kCpu, Backend::kCuda, Backend::kEmulator}) {
    if (text == name_of(backend)) return backend;
  }
  throw UsageError("--backend: got '" + std::string(text) + "', expected cpu, cuda or emulator");
}

}  // namespace

Arguments parse_arguments(int argc, const char* const* argv) {
  Arguments arguments;
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (!name.starts_with("--")) {
      paths.emplace_back(name);
      continue;
    }
    if (++i == argc) throw UsageError(std::string(name) + ": its value is missing");
    if (name == "--backend") {
      arguments.options.backend = parse_backend(argv[i]);
    } else if (name == "--batch") {
      arguments.batch = parse_number(name, argv[i], 1);
    } else if (name == "--threads") {
      arguments.options.threads = parse_number(name, argv[i], 1);
    } else if (name == "--device") {
      arguments.options.device = parse_number(name, argv[i], 0);
    } else if (name == "--time") {
      arguments.time = parse_number(name, argv[i], 1);
    } else {
      throw UsageError("there is no " + std::string(name));
    }
  }
  if (paths.size() < 2) throw UsageError("ENGINE and INPUT are needed");
  arguments.engine = paths[0];
  arguments.input = paths[1];
  arguments.outputs.assign(paths.begin() + 2, paths.end());
  return arguments;
}
