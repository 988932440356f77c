#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#define INCEPTION_FAST_API __attribute__((visibility("default")))

// Runs the .ifast files that inception_fast writes, with neither Python nor PyTorch. All tensors
// are in the caller's memory, row-major, images first; float32, or bytes where the model takes
// bytes: an engine of lower precision gets its input rounded to nearest even and its outputs
// widened. What int8 makes of them is in the file.
namespace inception_fast {

// Whatever goes wrong: a file that cannot be read, is damaged or hostile; an argument that does not
// fit; a device that is not there or fails; too little memory. what() says what came and what was
// expected.
class INCEPTION_FAST_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class Backend {
  kCpu,       // AVX-512, AVX2 or portable, by what the processor has
  kCuda,      // a GPU, sm_80 or later
  kEmulator,  // the CUDA kernels on the CPU, every access checked: slow, for tests
};

// "cpu", "cuda", "emulator".
INCEPTION_FAST_API std::string_view name_of(Backend backend);

// What this library was built with; whether a device is there shows when an Engine is made.
INCEPTION_FAST_API std::vector<Backend> backends();

struct Options {
  Backend backend = Backend::kCpu;
  int threads = 0;  // of the CPU; 0, or more than the process may use: as many as it may use
  int device = 0;   // of CUDA
};

struct Shape {
  int channels = 0;
  int height = 0;
  int width = 0;

  std::size_t size() const { return std::size_t{1} * channels * height * width; }
};

// Of the images that an engine takes, as its model did.
enum class Layout { kNchw, kNhwc };

struct Output {
  Shape shape;        // of an image
  bool flat = false;  // the model returned [N, C * H * W] rather than [N, C, H, W]; the memory is
                      // the same
};

// A network made ready to run. Safe to use from several threads at once; on devices their calls
// take turns. The same image gives the same bits, whatever the batch around it.
class INCEPTION_FAST_API Engine {
 public:
  // Reads the file and packs its weights, after which the file is not needed. Throws Error.
  explicit Engine(const std::string& path, const Options& options = {});
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  Shape input() const;
  Layout layout() const;
  // Whether the images are bytes.
  bool takes_bytes() const;
  const std::vector<Output>& outputs() const;
  // Of the engine: fp32, tf32, fp16, bf16 or int8.
  const std::string& precision() const;

  // images: [N, C, H, W] or [N, H, W, C], N >= 1, as input() and layout() say; bytes where, and
  // only where, takes_bytes(). Returns [N, C, H, W] for each of outputs(). Throws Error.
  std::vector<std::vector<float>> run(std::span<const float> images) const;
  std::vector<std::vector<float>> run(std::span<const std::uint8_t> images) const;

 private:
  struct Implementation;
  std::unique_ptr<const Implementation> implementation_;
};

}  // namespace inception_fast
