// Runs an engine file over images in a file; README.md says how. Exit status: 0 where every output
// was computed and written, 1 where something failed, 2 for a wrong command line.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "arguments.h"
#include "array_file.h"
#include "inception_fast/engine.h"

namespace {

using inception_fast::Engine;
using inception_fast::Layout;
using inception_fast::Output;

void require(bool condition, const std::string& problem) {
  if (!condition) throw std::runtime_error(problem);
}

std::string text_of(const std::vector<std::size_t>& shape) {
  std::string text;
  for (const std::size_t extent : shape)
    text += (text.empty() ? "" : ", ") + std::to_string(extent);
  return "[" + text + "]";
}

std::vector<std::size_t> shape_of(const Output& output, std::size_t batch) {
  const auto [channels, height, width] = output.shape;
  if (output.flat) return {batch, output.shape.size()};
  return {batch, std::size_t(channels), std::size_t(height), std::size_t(width)};
}

// As the engine takes them. A file of bare numbers has as many images as it has room for.
template <class T>
Array<T> read_images(const std::string& path, const Engine& engine) {
  Array<T> images = read_array<T>(path);
  const auto input = engine.input();
  std::vector<std::size_t> expected = shape_of({input, false}, images.values.size() / input.size());
  // [N, C, H, W], of which the channels may come last.
  if (engine.layout() == Layout::kNhwc) std::rotate(&expected[1], &expected[2], &expected[3] + 1);
  if (images.shape.size() == 1 && images.values.size() % input.size() == 0) images.shape = expected;
  require(images.shape == expected && expected[0] > 0,
          path + ": got " + text_of(images.shape) + ", expected [N, " +
              text_of({expected.begin() + 1, expected.end()}).substr(1) + " with N from 1 on");
  return images;
}

// All images, `batch` at a time.
template <class T>
std::vector<std::vector<float>> infer(const Engine& engine, std::span<const T> images,
                                      std::size_t batch) {
  std::vector<std::vector<float>> results(engine.outputs().size());
  const std::size_t step = batch * engine.input().size();
  for (; !images.empty(); images = images.subspan(std::min(step, images.size()))) {
    const auto part = engine.run(images.first(std::min(step, images.size())));
    for (std::size_t i = 0; i < part.size(); ++i) {
      results[i].insert(results[i].end(), part[i].begin(), part[i].end());
    }
  }
  return results;
}

template <class T>
void print_times(const Engine& engine, std::span<const T> batch, int calls) {
  std::vector<double> milliseconds;
  for (int i = 0; i < calls; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    engine.run(batch);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    milliseconds.push_back(took.count());
  }
  std::ranges::sort(milliseconds);
  const auto at = [&](double q) { return milliseconds[static_cast<std::size_t>(q * (calls - 1))]; };
  std::printf("%zu images a call: median %.3f ms, p10 %.3f, p90 %.3f, %d calls\n",
              batch.size() / engine.input().size(), at(0.5), at(0.1), at(0.9), calls);
}

// T: of the engine's images.
template <class T>
void run(const Arguments& arguments, const Engine& engine) {
  const std::vector<Output>& outputs = engine.outputs();
  require(arguments.outputs.empty() || arguments.outputs.size() == outputs.size(),
          "OUTPUT: got " + std::to_string(arguments.outputs.size()) + " files, the engine has " +
              std::to_string(outputs.size()) + " outputs");
  const Array<T> images = read_images<T>(arguments.input, engine);
  const std::size_t count = images.shape[0];
  const std::size_t batch =
      arguments.batch == 0 ? count : std::min<std::size_t>(arguments.batch, count);
  auto results = infer<T>(engine, images.values, batch);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const std::vector<std::size_t> shape = shape_of(outputs[i], count);
    std::printf("output %zu: %s\n", i, text_of(shape).c_str());
    if (!arguments.outputs.empty()) {
      write_array(arguments.outputs[i], {shape, std::move(results[i])});
    }
  }
  if (arguments.time > 0) {
    print_times<T>(engine, std::span(images.values).first(batch * engine.input().size()),
                   arguments.time);
  }
}

void run(const Arguments& arguments) {
  const Engine engine(arguments.engine, arguments.options);
  if (engine.takes_bytes()) {
    run<std::uint8_t>(arguments, engine);
  } else {
    run<float>(arguments, engine);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse_arguments(argc, argv));
    return 0;
  } catch (const UsageError& error) {
    std::fprintf(stderr, "infer: %s\nusage: %s\n", error.what(), kUsage);
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "infer: %s\n", error.what());
    return 1;
  }
}
