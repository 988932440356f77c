#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/launch/tile_record.h"
#include "cuda/launch/tile_shape.h"
#include "plan/function.h"

// What kernels read: the steps of a Plan as plain data, the same for every batch size. Offsets into
// constants are bytes.
namespace ifast::cuda {

inline constexpr int kMaxSteps = 32;  // in one launch
inline constexpr int kMaxBases = 64;
inline constexpr int kMostExtent = 8192;  // of what VectorLoader reads: rows, columns and taps
inline constexpr int kArenaBase = 0;
inline constexpr int kInputBase = 1;  // outputs follow

// Vector `vector` of row `row` lies here in a chunk of rows of kChunkBytes: eight rows of one
// vector, which ldmatrix reads together, are in different banks.
IFAST_BOTH inline int swizzle(int row, int vector) {
  return row * kChunkBytes + (vector ^ (row & 7)) * kVectorBytes;
}

IFAST_BOTH inline int divide_up(int a, int b) { return (a + b - 1) / b; }

struct Extent {
  int vertical;
  int horizontal;
};

// A channel slice of a buffer; base -1 is none.
struct View {
  int base = -1;
  int height = 0;
  int width = 0;
  int pitch = 0;  // channels of the buffer
  int start = 0;
  int channels = 0;
  std::int64_t offset = 0;  // of the buffer, in elements per image
};

inline constexpr std::int64_t kNone = -1;
inline constexpr int kNoPartials = -1;

// What is applied to what a target gets.
enum class Finish : int { kNothing, kRelu, kFunction };

struct Target {
  View view;
  int first = 0;  // output channel of the step
  Finish finish = Finish::kNothing;
  Function function = Function::kSigmoid;
  float alpha = 0;
  float beta = 0;
  std::int64_t slope = kNone;  // float[] of the target's channels
};

enum class Kind : int {
  kConv,
  kDepthwise,
  kMaxPool,
  kAveragePool,
  kPointwise,
  kPad,
  kGate,
  kResize,
  kLocalResponse,
  kNormalize,
  kSoftmax,
  kPair
};

// How a step is cut into tiles. Those that share output pixels are a group: tile t is part
// t % group_tiles of group t / group_tiles.
struct Cut {
  int shape = kBaseShape;  // of kShapes, for a convolution between buffers
  int group_pixels = 1;
  int group_tiles = 1;
};

struct Step {
  Kind kind = Kind::kConv;
  View source;
  View other;      // residual, second operand or gate
  int height = 0;  // of the output
  int width = 0;
  int channels = 0;
  int target_count = 0;
  std::int64_t targets = 0;    // Target[]
  std::int64_t bias = kNone;   // float[], also the shift of a pointwise step or a pad
  std::int64_t scale = kNone;  // float[]
  Extent stride = {1, 1};

  // Of a step that is no convolution between buffers.
  Cut cut;

  // Convolution, also a depthwise one.
  int tap_count = 0;
  std::int64_t taps = 0;    // Extent[]
  std::int64_t weight = 0;  // [chunk][weight_columns][kChunkBytes], swizzled; see pack_depthwise()

  // Convolution.
  int tap_vectors = 0;     // of one tap's channels
  int chunks = 0;          // of K
  int segments = 1;        // of K, each summed from zero
  int segment_chunks = 0;  // of each but the last
  int weight_columns = 0;  // output channels, rounded up
  // The source's pixels are whole and aligned vectors at offsets that VectorLoader can count.
  int whole_vectors = 0;

  // Pair: the step is the second convolution, the source its intermediate, which has no memory.
  std::int64_t first = kNone;  // Step
  int middle_relu = 0;
  int lowest_tap = 0;  // rows of the intermediate that an output row sees
  int highest_tap = 0;
  int cluster_log2 = 0;  // blocks that share a tile

  // Pools.
  Extent kernel = {1, 1};
  Extent padding = {0, 0};
  Extent padding_end = {0, 0};
  int counts_padding = 0;
  int adaptive = 0;  // windows are what the sizes make of them

  // Pad: its margins' beginning is in `padding`. The source is bytes, whatever the Plan's dtype.
  float value = 0;
  int bytes = 0;

  int align_corners = 0;
  float eps = 0;
  int logarithm = 0;  // of a softmax

  // Local response normalisation over a window of channels.
  int window = 1;
  float alpha = 0;
  float beta = 0;
  float k = 0;
};

// Where everything lies in one call.
struct Bindings {
  std::byte* bases[kMaxBases];
  std::int64_t input_strides[4];  // image, row, column, channel, in elements
  int batch;
  std::byte* partials;  // kPartialBytes each
  unsigned* arrivals;   // one a partial, zero at the start and at the end
  TileRecord* records;  // of this launch's tiles, zeros at the start; or nullptr
};

// When a launch lets the next one start, which then waits for all of it: at its blocks' start, when
// their sums are complete, or at their end.
enum class Trigger : int { kEarly, kLate, kNone };

// One launch: steps that do not depend on each other, their tiles one after the other. A pair's
// tile counts once for each block of its cluster; pairs come first, so that clusters stay whole. A
// tile whose segments leave their sums counts once for each.
struct StageArguments {
  Bindings bindings;
  const Step* steps;
  const std::byte* constants;
  Trigger trigger;
  int first_step;  // of the Program
  int count;
  int first_tile[kMaxSteps + 1];
  int first_partial[kMaxSteps];
  Cut cuts[kMaxSteps];
};

// A step of a network in one launch: where its tiles, counters and dependencies begin. One more
// than there are steps, for the ends.
struct NetworkStep {
  int first_tile;
  int first_counter;  // one a group
  int first_partial;
  int first_dependency;
  Cut cut;
};

// A step that writes something that this one reads: for output row y the rows from
// y * stride + lowest to y * stride + highest.
struct Dependency {
  int producer;
  int stride;
  int lowest;
  int highest;
};

struct NetworkArguments {
  Bindings bindings;
  const Step* steps;
  const std::byte* constants;
  const NetworkStep* schedule;
  const Dependency* dependencies;
  unsigned* counters;  // zero at the start and at the end; one more than counter_count
  int counter_count;
  int tiles;
};

// Of one tile of a pair's intermediate.
IFAST_BOTH constexpr int pair_unit_bytes(std::size_t element_size) {
  return kPairShape.rows * kPairShape.columns * static_cast<int>(element_size);
}

// How a convolution between buffers is cut by tiles of a shape; anything else is cut as it says.
inline Cut cut_of(const Step& step, int shape) {
  if (step.kind != Kind::kConv) return step.cut;
  return {shape, kShapes[shape].rows, divide_up(step.channels, kShapes[shape].columns)};
}

inline std::int64_t groups_of(const Step& step, const Cut& cut, int batch) {
  const std::int64_t pixels = std::int64_t{batch} * step.height * step.width;
  return (pixels + cut.group_pixels - 1) / cut.group_pixels;
}

}  // namespace ifast::cuda
