#include "cuda/launch/launch_work.h"

#include <algorithm>
#include <cstring>

#include "cuda/launch/placement.h"

namespace ifast::cuda {
namespace {

// Instructions of a warp in each chunk of fp16, from the SASS of sm_90a.
constexpr double kWideInstructions = 118;
constexpr double kNarrowInstructions = 94;

int element_size(Precision precision) {
  return precision == Precision::kFp16 || precision == Precision::kBf16 ? 2 : 4;
}

double elements(const View& view) {
  return view.base < 0 ? 0 : double(view.height) * view.width * view.channels;
}

// `step` is a convolution, perhaps the first of a pair.
TileCode code_of(const Step& step, Precision precision) {
  TileCode code;
  const bool wide = step.tile_columns == kWideShape.columns;
  const TileShape& shape = wide ? kWideShape : kBaseShape;
  code.rows = shape.rows;
  code.columns = shape.columns;
  code.warps = shape.warp_rows * shape.warp_columns;
  code.unit_rows = shape.rows / shape.warp_rows;
  code.unit_columns = shape.columns / shape.warp_columns;
  code.chunk_bytes = kChunkBytes;
  code.ring = shape.stages;
  code.instructions = wide ? kWideInstructions : kNarrowInstructions;
  if (precision == Precision::kFp32) {
    code.products = 3;
    code.resident = 2;
  }
  return code;
}

double weight_bytes(const Step& step) {
  return double(step.group_tiles) * step.tile_columns * step.chunks * kChunkBytes;
}

double reads_of(const Step& step) {
  switch (step.kind) {
    case Kind::kMaxPool:
    case Kind::kAveragePool:
      return double(step.kernel.vertical) * step.kernel.horizontal;
    case Kind::kResize:
      return 4;
    default:
      return step.other.base < 0 ? 1 : 2;
  }
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
      const double output = bytes(double(step.height) * step.width * step.channels);
      const double source = bytes(elements(step.source)), other = bytes(elements(step.other));
      StepWork own;
      own.name = program_.names[launch.first_step + i];
      own.blocks = placement.first_block[i + 1] - placement.first_block[i];
      own.activation_bytes = output + source + other;
      own.l2_bytes = output + other;
      if (step.kind == Kind::kConv) {
        add_convolution(own, step, placement.first_partial[i] != kNoPartials);
      } else if (step.kind == Kind::kPair) {
        add_pair(own, step);
      } else {
        own.reads = reads_of(step);
        own.l2_bytes += source;
      }
      work.steps.push_back(std::move(own));
    }
    return work;
  }

 private:
  // Of all images.
  double bytes(double elements) const { return elements * batch_ * element_size(precision_); }

  void add_convolution(StepWork& work, const Step& step, bool spread) const {
    work.code = code_of(step, precision_);
    work.chunks = spread ? step.segment_chunks : step.chunks;
    work.parts = spread ? step.segments : 1;
    const double tiles = work.blocks / work.parts;
    work.l2_bytes += tiles * step.chunks * (work.code.rows + work.code.columns) * kChunkBytes;
    if (spread) work.l2_bytes += 2 * work.blocks * work.code.rows * work.code.columns * 4;
    work.weight_bytes = weight_bytes(step);
  }

  // Each block of a cluster computes its units of the intermediate, and then its share of the
  // output from everybody's.
  void add_pair(StepWork& work, const Step& step) const {
    Step first;
    std::memcpy(&first, program_.constants.data() + step.first, sizeof first);
    work.code = code_of(first, precision_);
    const int cluster = 1 << step.cluster_log2, rows = work.code.rows;
    const int lines =
        (step.group_pixels + step.width - 2) / step.width + 1 + step.highest_tap - step.lowest_tap;
    const int middle = std::min(lines, first.height) * first.width;
    const double units =
        divide_up(divide_up(middle, rows) * first.group_tiles, cluster) * first.chunks;
    const double parts =
        divide_up(divide_up(step.group_pixels, rows) * step.group_tiles, cluster) * step.chunks;
    work.chunks = units + parts;
    work.barriers = 1;
    // Only the weights of the second come from memory.
    work.l2_bytes += work.blocks * kChunkBytes *
                     (units * (rows + work.code.columns) + parts * work.code.columns);
    work.activation_bytes += bytes(elements(first.source));
    work.weight_bytes = weight_bytes(first) + weight_bytes(step);
  }

  const Program& program_;
  const int batch_;
  const Precision precision_;
};

}  // namespace

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
  }
  return conditions;
}

}  // namespace ifast::cuda
