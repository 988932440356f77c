#include "cuda/launch/launch_work.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cuda/launch/placement.h"
#include "cuda/launch/tile_code.h"

namespace ifast::cuda {
namespace {

// Of a warp, for each vector of a source that is read element by element.
constexpr double kElementInstructions = 60;

int element_size(Precision precision) {
  return precision == Precision::kFp16 || precision == Precision::kBf16 ? 2 : 4;
}

double elements(const View& view) {
  return view.base < 0 ? 0 : double(view.height) * view.width * view.channels;
}

double weight_bytes(const Step& step) {
  return double(weight_columns(step.channels)) * step.chunks * kChunkBytes;
}

int vector_length(Precision precision) { return kVectorBytes / element_size(precision); }

// Pixels of a pool's window, of the usual one where they differ.
double window_of(const Step& step) {
  if (!step.adaptive) return double(step.kernel.vertical) * step.kernel.horizontal;
  return std::ceil(double(step.source.height) / step.height) *
         std::ceil(double(step.source.width) / step.width);
}

// Vectors that a thread reads, one by one.
double reads_of(const Step& step, Precision precision) {
  const double length = vector_length(precision);
  const double of_a_lane = std::ceil(step.channels / (32 * length));
  switch (step.kind) {
    case Kind::kMaxPool:
    case Kind::kAveragePool:
      return window_of(step);
    case Kind::kResize:
      return 4;
    case Kind::kDepthwise:
      return 2.0 * step.tap_count;
    case Kind::kLocalResponse:
      return 2 + std::ceil(std::min(step.window - 1, step.channels) / length);
    case Kind::kNormalize:
      return 2 * of_a_lane;
    case Kind::kSoftmax:
      return 3 * of_a_lane;
    case Kind::kPointwise:
      return step.other.base < 0 ? 1 : 2;
    case Kind::kPad:
      return 1;
    case Kind::kGate:
      return 2;
    case Kind::kConv:
    case Kind::kPair:
      break;  // counted in chunks
  }
  return 0;
}

// What every step touches, of all images.
StepWork touched_by(const Step& step, int batch, Precision precision) {
  const double bytes = double(batch) * element_size(precision);
  const double output = bytes * step.height * step.width * step.channels;
  const double other = bytes * elements(step.other);
  StepWork work;
  work.activation_bytes = output + (step.bytes ? batch : bytes) * elements(step.source) + other;
  work.l2_bytes = output + other;
  return work;
}

class Describer {
 public:
  Describer(const Program& program, int batch, Precision precision)
      : program_(program), batch_(batch), precision_(precision) {}

  LaunchWork describe(const StageLaunch& launch) const {
    const Placement placement = place_blocks(program_, launch, batch_);
    LaunchWork work;
    for (int i = 0; i < launch.count; ++i) {
      const Step& step = program_.steps[launch.first_step + i];
      const double blocks = placement.first_block[i + 1] - placement.first_block[i];
      const bool spread = placement.first_partial[i] != kNoPartials;
      StepWork own;
      if (step.kind == Kind::kConv) {
        own = convolution_work(step, kShapes[placement.cuts[i].shape], batch_, spread, precision_);
      } else if (step.kind == Kind::kPair) {
        own = pair_work(step, blocks);
      } else {
        own = touched_by(step, batch_, precision_);
        own.reads = reads_of(step, precision_);
        own.blocks = blocks;
        own.l2_bytes += bytes(elements(step.source));
        if (step.kind == Kind::kDepthwise) {
          own.weight_bytes = double(step.tap_count) * step.channels * element_size(precision_);
        }
      }
      own.name = program_.names[launch.first_step + i];
      work.steps.push_back(std::move(own));
    }
    return work;
  }

 private:
  // Of all images.
  double bytes(double elements) const { return elements * batch_ * element_size(precision_); }

  // Each block of a cluster computes its units of the intermediate, and then its share of the
  // output from everybody's.
  StepWork pair_work(const Step& step, double blocks) const {
    StepWork work = touched_by(step, batch_, precision_);
    work.blocks = blocks;
    Step first;
    std::memcpy(&first, program_.constants.data() + step.first, sizeof first);
    work.code = tile_code(kPairShape, precision_);
    const int cluster = 1 << step.cluster_log2, rows = work.code.rows;
    const int lines = (step.cut.group_pixels + step.width - 2) / step.width + 1 + step.highest_tap -
                      step.lowest_tap;
    const int middle = std::min(lines, first.height) * first.width;
    const double units =
        divide_up(divide_up(middle, rows) * first.cut.group_tiles, cluster) * first.chunks;
    const double parts =
        divide_up(divide_up(step.cut.group_pixels, rows) * step.cut.group_tiles, cluster) *
        step.chunks;
    work.chunks = units + parts;
    work.barriers = 1;
    // Only the weights of the second come from memory.
    work.l2_bytes += work.blocks * kChunkBytes *
                     (units * (rows + work.code.columns) + parts * work.code.columns);
    work.activation_bytes += bytes(elements(first.source));
    work.weight_bytes = weight_bytes(first) + weight_bytes(step);
    return work;
  }

  const Program& program_;
  const int batch_;
  const Precision precision_;
};

}  // namespace

StepWork convolution_work(const Step& step, const TileShape& shape, int batch, bool spread,
                          Precision precision) {
  StepWork work = touched_by(step, batch, precision);
  work.code = tile_code(shape, precision);
  if (!step.whole_vectors) {
    work.code.instructions += kElementInstructions * shape.rows * kChunkVectors / shape.threads();
  }
  const double pixels = double(batch) * step.height * step.width;
  const double tiles = std::ceil(pixels / shape.rows) * divide_up(step.channels, shape.columns);
  work.parts = spread ? step.segments : 1;
  work.blocks = tiles * work.parts;
  work.chunks = spread ? step.segment_chunks : step.chunks;
  work.l2_bytes += tiles * step.chunks * (shape.rows + shape.columns) * kChunkBytes;
  if (spread) work.l2_bytes += 2 * work.blocks * shape.rows * shape.columns * 4;
  work.weight_bytes = weight_bytes(step);
  return work;
}

std::vector<LaunchWork> work_of(const Program& program, int batch, Precision precision) {
  const Describer describer(program, batch, precision);
  std::vector<LaunchWork> work;
  for (const StageLaunch& launch : program.launches) work.push_back(describer.describe(launch));
  return work;
}

Conditions conditions_of(const Program& program, int batch, Precision precision, Driver driver) {
  Conditions conditions;
  conditions.working_set =
      double(program.constants.size()) + double(program.arena) * batch * element_size(precision);
  if (driver == Driver::kNetwork) {
    conditions.hand_over = HandOver::kCounter;
    conditions.resident = precision == Precision::kFp32 ? 2 : 3;  // kNetworkBlocks
  }
  return conditions;
}

}  // namespace ifast::cuda
