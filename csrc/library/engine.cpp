#include "inception_fast/engine.h"

#include <limits>
#include <new>

#include "cpu/kernels/convert.h"
#include "library/runner.h"

namespace inception_fast {
namespace {

// The errors of every room, as the one that callers know.
template <class Body>
auto translated(Body&& body) {
  try {
    return body();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw Error("not enough memory");
  } catch (const std::length_error&) {  // more than any vector can hold
    throw Error("not enough memory");
  } catch (const std::exception& error) {
    throw Error(error.what());
  }
}

std::unique_ptr<ifast::Runner> make_runner(const ifast::EngineFile& engine,
                                           const Options& options) {
  if (options.threads < 0) throw Error("threads: got " + std::to_string(options.threads));
  if (options.device < 0) throw Error("device: got " + std::to_string(options.device));
  switch (options.backend) {
    case Backend::kCpu:
      return ifast::make_cpu_runner(engine, options.threads);
    case Backend::kCuda:
#ifdef IFAST_WITH_CUDA
      return ifast::make_cuda_runner(engine, options.device);
#else
      throw Error("backend cuda: this library was built without it (no nvcc, or IFAST_CUDA=OFF)");
#endif
    case Backend::kEmulator:
#ifdef IFAST_WITH_EMULATOR
      return ifast::make_emulator_runner(engine, 0);
#else
      throw Error(
          "backend emulator: this library was built without it (IFAST_EMULATOR=ON adds it)");
#endif
  }
  throw Error("backend: got " + std::to_string(static_cast<int>(options.backend)));
}

Shape shape_of(const ifast::Buffer& buffer) {
  return {buffer.channels, buffer.height, buffer.width};
}

// [N, H, W, C] in `dtype` as [N, C, H, W] in float32.
std::vector<float> planes_of(std::span<const std::byte> pixels, ifast::Dtype dtype, Shape shape) {
  const std::vector<float> values = ifast::cpu::to_floats(pixels, dtype);
  std::vector<float> planes(values.size());
  const std::size_t area = std::size_t{1} * shape.height * shape.width;
  for (std::size_t image = 0; image < values.size(); image += shape.size()) {
    for (std::size_t pixel = 0; pixel < area; ++pixel) {
      for (int c = 0; c < shape.channels; ++c) {
        planes[image + c * area + pixel] = values[image + pixel * shape.channels + c];
      }
    }
  }
  return planes;
}

}  // namespace

std::string_view name_of(Backend backend) {
  switch (backend) {
    case Backend::kCpu:
      return "cpu";
    case Backend::kCuda:
      return "cuda";
    case Backend::kEmulator:
      break;
  }
  return "emulator";
}

std::vector<Backend> backends() {
  return {
      Backend::kCpu,
#ifdef IFAST_WITH_CUDA
      Backend::kCuda,
#endif
#ifdef IFAST_WITH_EMULATOR
      Backend::kEmulator,
#endif
  };
}

struct Engine::Implementation {
  Implementation(const ifast::EngineFile& engine, const Options& options)
      : runner(make_runner(engine, options)),
        dtype(ifast::outside_of(engine.plan.dtype)),
        precision(engine.metadata.precision),
        layout(engine.metadata.input_layout ? Layout::kNhwc : Layout::kNchw),
        takes_bytes(engine.plan.input_dtype() == ifast::Dtype::kUInt8),
        input(shape_of(engine.plan.buffers[engine.plan.input()])) {
    std::vector<std::size_t> place(engine.plan.buffers.size());
    for (std::size_t i = 0; i < place.size(); ++i) {
      if (engine.plan.buffers[i].home != ifast::Home::kOutput) continue;
      place[i] = buffers.size();
      buffers.push_back(shape_of(engine.plan.buffers[i]));
    }
    for (const ifast::Output& output : engine.plan.outputs) {
      places.push_back(place[output.buffer]);
      outputs.push_back({buffers[places.back()], output.flat});
    }
  }

  std::vector<std::vector<float>> run(std::span<const float> images) const {
    if (takes_bytes) throw Error("images: got float32, expected bytes");
    const int batch = batch_of(images.size());
    return run(ifast::cpu::from_floats(images, dtype).data(), batch);
  }

  std::vector<std::vector<float>> run(std::span<const std::uint8_t> images) const {
    if (!takes_bytes) throw Error("images: got bytes, expected float32");
    return run(images.data(), batch_of(images.size()));
  }

  int batch_of(std::size_t numbers) const {
    const std::size_t batch = numbers / input.size();
    if (numbers == 0 || numbers % input.size() != 0 || batch > std::numeric_limits<int>::max()) {
      throw Error("images: got " + std::to_string(numbers) +
                  " numbers, expected a positive multiple of " + std::to_string(input.size()));
    }
    return static_cast<int>(batch);
  }

  // images: of the Plan's input_dtype().
  std::vector<std::vector<float>> run(const void* images, int batch) const {
    std::vector<std::vector<std::byte>> memory;
    std::vector<void*> pointers;
    for (const Shape& shape : buffers) {
      memory.emplace_back(std::size_t{1} * batch * shape.size() * size_of(dtype));
      pointers.push_back(memory.back().data());
    }
    runner->run(images, batch, pointers);
    std::vector<std::vector<float>> results;
    for (const std::size_t place : places) {
      results.push_back(planes_of(memory[place], dtype, buffers[place]));
    }
    return results;
  }

  const std::unique_ptr<ifast::Runner> runner;
  const ifast::Dtype dtype;
  const std::string precision;
  const Layout layout;
  const bool takes_bytes;
  const Shape input;
  std::vector<Shape> buffers;  // the Plan's output buffers
  std::vector<Output> outputs;
  std::vector<std::size_t> places;  // of each output, among the buffers
};

Engine::Engine(const std::string& path, const Options& options)
    : implementation_(translated([&] {
        return std::make_unique<const Implementation>(ifast::read_engine(path), options);
      })) {}

Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

Shape Engine::input() const { return implementation_->input; }
Layout Engine::layout() const { return implementation_->layout; }
bool Engine::takes_bytes() const { return implementation_->takes_bytes; }
const std::vector<Output>& Engine::outputs() const { return implementation_->outputs; }
const std::string& Engine::precision() const { return implementation_->precision; }

std::vector<std::vector<float>> Engine::run(std::span<const float> images) const {
  return translated([&] { return implementation_->run(images); });
}

std::vector<std::vector<float>> Engine::run(std::span<const std::uint8_t> images) const {
  return translated([&] { return implementation_->run(images); });
}

}  // namespace inception_fast
