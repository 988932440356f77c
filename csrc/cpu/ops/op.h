#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace ifast::cpu {

class WeightStore;

// Elements between neighbours; the channel stride is 1 everywhere but in the caller's input.
struct Strides {
  std::ptrdiff_t image = 0;
  std::ptrdiff_t row = 0;
  std::ptrdiff_t column = 0;
  std::ptrdiff_t channel = 1;
};

// A channel slice of an NHWC buffer.
struct View {
  int buffer = 0;
  int height = 0;
  int width = 0;
  int channels = 0;         // of the slice
  int start = 0;            // the slice's first channel
  int buffer_channels = 0;  // from one pixel to the next
  std::size_t element_size = 4;
  // Where the buffer is quantised, an element stands for scale * (element - zero).
  float scale = 1.0f;
  int zero = 0;
};

// Of each element, in place of a ReLU.
struct TargetFunction {
  Function function = Function::kSigmoid;
  double alpha = 0;
  double beta = 0;
  std::vector<float> slope;  // [channels] of the target, or empty
};

struct Target {
  View view;
  bool relu = false;
  std::optional<TargetFunction> function = std::nullopt;
};

// Where everything lies in one call.
struct Bindings {
  int batch = 0;
  std::size_t element_size = 4;  // of the Plan's dtype
  std::vector<std::byte*> buffers;
  std::vector<Strides> strides;  // of each buffer

  // The slice's first channel of pixel (0, 0).
  std::byte* image(const View& view, int n) const {
    const Strides& s = strides[view.buffer];
    return buffers[view.buffer] + (n * s.image + view.start * s.channel) * view.element_size;
  }
  std::byte* at(const View& view, int n, std::ptrdiff_t y, std::ptrdiff_t x) const {
    const Strides& s = strides[view.buffer];
    return image(view, n) +
           (y * s.row + x * s.column) * static_cast<std::ptrdiff_t>(view.element_size);
  }
};

// How an operator's work is cut for a batch size and a number of threads. Results never depend on
// it.
struct Tiling {
  int tasks = 1;
  double cost = 0;          // of all tasks, in multiply-adds or what takes as long
  std::size_t scratch = 0;  // bytes for each thread
  int blocks = 1;           // groups of pixels (or tiles) that share what scratch holds
  int splits = 1;           // parts that the output channels are cut in
};

// A thread's own memory. An operator that finds itself in `owner` may reuse what it put there for
// `block` in the same call.
struct Scratch {
  std::byte* memory = nullptr;
  const void* owner = nullptr;
  int block = 0;

  // Whether the new owner has yet to put there what `block` needs.
  bool take(const void* by, int of_block) {
    if (owner == by && block == of_block) return false;
    owner = by;
    block = of_block;
    return true;
  }
};

// A step made ready to run. Tasks of one operator write disjoint memory, in any order, on any
// thread.
class Op {
 public:
  virtual ~Op() = default;
  virtual Tiling tile(int batch, int threads) const = 0;
  virtual void run(const Bindings& bindings, const Tiling& tiling, int task,
                   Scratch& scratch) const = 0;
  virtual std::string describe() const = 0;  // the algorithm, for people
  // What it has packed since it was made; null where nothing.
  virtual const WeightStore* late_weights() const { return nullptr; }
};

// Element `part` of `count` nearly equal ranges of [0, total).
struct Range {
  int begin;
  int end;

  int size() const { return end - begin; }
};
inline Range part_of(int total, int part, int count) {
  const auto at = [=](int i) {
    return static_cast<int>(static_cast<long long>(total) * i / count);
  };
  return {at(part), at(part + 1)};
}

}  // namespace ifast::cpu
