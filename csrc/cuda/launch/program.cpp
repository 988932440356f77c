#include "cuda/launch/program.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "cuda/launch/pack.h"
#include "cuda/launch/pair_shape.h"
#include "cuda/launch/segments.h"
#include "plan/engine_file.h"

namespace ifast::cuda {
namespace {

// Of everything in the constants: what a vector load and cp.async want, and a cache line.
constexpr std::size_t kConstantAlignment = 128;

// That a tile's pixels may lie in.
constexpr int kMostImages = 256;

Extent extent(const Pair& pair) { return {pair.vertical, pair.horizontal}; }

class Builder {
 public:
  Builder(const Plan& plan, const ConstantBytes& constants, Precision precision, Driver driver,
          const DeviceLimits& limits, const LaunchOptions& options)
      : plan_(plan),
        constants_(constants),
        precision_(precision),
        share_memory_(driver != Driver::kNetwork),
        keep_pairs_(driver == Driver::kPair),
        limits_(limits),
        options_(options) {
    program_.choice = {options.machine, limits.shared_bytes, precision,
                       driver == Driver::kNetwork ? KernelKind::kNetwork : KernelKind::kThroughput,
                       options.shape};
    program_.choice.machine.multiprocessors = limits.multiprocessors;
    place_buffers();
    bases_.assign(plan.buffers.size(), kArenaBase);
    bases_[plan.input()] = kInputBase;
    for (std::size_t i = 0; i < plan.buffers.size(); ++i) {
      if (plan.buffers[i].home != Home::kOutput) continue;
      bases_[i] = kInputBase + 1 + static_cast<int>(program_.outputs.size());
      program_.outputs.push_back(static_cast<int>(i));
    }
    if (program_.outputs.size() + kInputBase + 1 > kMaxBases) {
      throw EngineError("outputs: got " + std::to_string(program_.outputs.size()) +
                        " buffers, expected at most " + std::to_string(kMaxBases - kInputBase - 1));
    }
  }

  Program build() {
    const std::int64_t base = program_.arena;
    std::int64_t end = base;
    for (const std::vector<int>& stage : plan_.stages) {
      if (share_memory_) end = base;
      std::vector<const PairStep*> pairs;
      for (int i : stage) {
        if (const auto* pair = std::get_if<PairStep>(&plan_.steps[i])) pairs.push_back(pair);
      }
      cut_sums(stage);
      NamedSteps now, then;
      StageLaunch launch;
      if (!keep_pairs_ || !keep_together(pairs, now, launch)) take_apart(pairs, end, now, then);
      for (int i : stage) {
        const ifast::Step& step = plan_.steps[i];
        if (!std::holds_alternative<PairStep>(step))
          now.emplace_back(name_of(step), make_step(step));
      }
      program_.arena = std::max(program_.arena, end);
      add_launches(now, launch);
      add_launches(then, StageLaunch{});
    }
    return std::move(program_);
  }

 private:
  using NamedSteps = std::vector<std::pair<std::string, Step>>;

  // The segments of the stage's convolutions, as if its pairs were taken apart: they are the same
  // in all drivers.
  void cut_sums(const std::vector<int>& stage) {
    Sums now, then;
    for (int i : stage) {
      const ifast::Step& step = plan_.steps[i];
      if (const auto* s = std::get_if<ConvStep>(&step)) {
        add_sum(now, view(source_of(step)), view(s->destinations.front().slice), s->conv);
      } else if (const auto* s = std::get_if<PairStep>(&step)) {
        std::int64_t end = 0;
        const View middle = place_middle(*s, end);
        add_sum(now, view(s->source), middle, s->first);
        add_sum(then, middle, view(s->destinations.front().slice), s->second);
      }
    }
    for (Sums* sums : {&now, &then}) {
      std::vector<Step*> steps;
      for (auto& [conv, step] : *sums) steps.push_back(&step);
      choose_segments(steps, limits_.multiprocessors, precision_, options_);
      for (const auto& [conv, step] : *sums) segment_chunks_[conv] = step.segment_chunks;
    }
  }

  using Sums = std::vector<std::pair<const Convolution*, Step>>;

  void add_sum(Sums& sums, const View& source, const View& output, const Convolution& conv) const {
    Step step = sized_as(output);
    step.source = source;
    describe_convolution(step, conv);
    sums.emplace_back(&conv, step);
  }

  static Step sized_as(const View& view) {
    Step step;
    step.height = view.height;
    step.width = view.width;
    return step;
  }

  // Pairs come first; a launch that begins behind them has none, and no use for their clusters.
  void add_launches(NamedSteps& stage, const StageLaunch& with_pairs) {
    for (std::size_t i = 0; i < stage.size(); i += kMaxSteps) {
      StageLaunch launch = stage[i].second.kind == Kind::kPair ? with_pairs : StageLaunch{};
      launch.first_step = static_cast<int>(program_.steps.size() + i);
      launch.count = static_cast<int>(std::min<std::size_t>(kMaxSteps, stage.size() - i));
      program_.launches.push_back(launch);
    }
    for (auto& [name, step] : stage) {
      program_.names.push_back(std::move(name));
      program_.steps.push_back(step);
    }
  }

  // All pairs of a stage. Returns false where there are none or one of them does not fit.
  bool keep_together(const std::vector<const PairStep*>& pairs, NamedSteps& steps,
                     StageLaunch& launch) {
    if (pairs.empty()) return false;
    std::vector<PairOfSteps> described;
    for (const PairStep* pair : pairs) {
      described.push_back({describe_first(*pair), describe_second(*pair)});
    }
    const auto chosen = choose_pair_shapes(described, size_of(plan_.dtype), limits_);
    if (!chosen) return false;
    launch.cluster_log2 = chosen->cluster_log2;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const PairShape& shape = chosen->shapes[i];
      launch.shared_bytes = std::max(launch.shared_bytes, shape.shared_bytes);
      steps.emplace_back(pairs[i]->name, pair_of(*pairs[i], described[i], shape, *chosen));
    }
    return true;
  }

  void take_apart(const std::vector<const PairStep*>& pairs, std::int64_t& end, NamedSteps& now,
                  NamedSteps& then) {
    for (const PairStep* pair : pairs) {
      const View middle = place_middle(*pair, end);
      now.emplace_back(pair->name + ".first", first_of(*pair, middle));
      then.emplace_back(pair->name + ".second", second_of(*pair, middle));
    }
  }

  void place_buffers() {
    program_.arena = share_memory_ ? plan_.arena : 0;
    for (const Buffer& buffer : plan_.buffers) {
      const bool apart = !share_memory_ && buffer.home == Home::kArena;
      offsets_.push_back(apart ? place(buffer.size(), program_.arena) : buffer.offset);
    }
  }

  static std::int64_t place(std::int64_t size, std::int64_t& end) {
    const std::int64_t offset = (end + kAlignment - 1) / kAlignment * kAlignment;
    end = offset + size;
    return offset;
  }

  // Intermediates of pairs come after everything else. Those of different stages may share memory.
  View place_middle(const PairStep& pair, std::int64_t& end) const {
    const int channels = pair.first.out_channels;
    const std::int64_t size = std::int64_t{pair.middle_height} * pair.middle_width * channels;
    return {kArenaBase, pair.middle_height, pair.middle_width, channels,
            0,          channels,           place(size, end)};
  }

  View view(const Slice& slice) const {
    const Buffer& b = plan_.buffers[slice.buffer];
    return {bases_[slice.buffer],  b.height, b.width, b.channels, slice.start, slice.channels,
            offsets_[slice.buffer]};
  }

  std::size_t align_constants() {
    const std::size_t at = (program_.constants.size() + kConstantAlignment - 1) /
                           kConstantAlignment * kConstantAlignment;
    program_.constants.resize(at);
    return at;
  }

  std::int64_t add_constant(std::span<const std::byte> bytes) {
    const std::size_t at = align_constants();
    program_.constants.insert(program_.constants.end(), bytes.begin(), bytes.end());
    return static_cast<std::int64_t>(at);
  }

  std::int64_t add_vector(const std::optional<std::string>& name) {
    return name ? add_constant(constants_.find(*name)->second) : kNone;
  }

  void set_targets(Step& step, std::vector<Target> targets) {
    step.height = targets.front().view.height;
    step.width = targets.front().view.width;
    step.channels = 0;
    for (Target& target : targets) {
      target.first = step.channels;
      step.channels += target.view.channels;
    }
    step.target_count = static_cast<int>(targets.size());
    step.targets = add_constant(std::as_bytes(std::span(targets)));
  }

  void set_targets(Step& step, std::span<const Destination> destinations) {
    std::vector<Target> targets;
    for (const Destination& d : destinations) targets.push_back(target_of(d));
    set_targets(step, std::move(targets));
  }

  Target target_of(const Destination& destination) {
    Target target{.view = view(destination.slice), .finish = finish_of(destination.relu)};
    if (destination.activation) {
      target.finish = Finish::kFunction;
      target.function = destination.activation->function;
      target.alpha = static_cast<float>(destination.activation->alpha);
      target.beta = static_cast<float>(destination.activation->beta);
      target.slope = add_vector(destination.activation->slope);
    }
    return target;
  }

  static Finish finish_of(bool relu) { return relu ? Finish::kRelu : Finish::kNothing; }

  // A warp a pixel.
  static void set_whole_pixels(Step& step) {
    step.cut.group_pixels = kThreads / 32;
    step.cut.group_tiles = 1;
  }

  // A thread a vector of channels: as many whole pixels as a block has threads for, or one.
  void set_pixel_groups(Step& step) const {
    const int length = kVectorBytes / static_cast<int>(size_of(plan_.dtype));
    const int vectors = divide_up(step.channels, length);
    step.cut.group_pixels = std::max(1, kThreads / vectors);
    step.cut.group_tiles = divide_up(vectors, kThreads);
  }

  // All but what is in the constants.
  void describe_convolution(Step& step, const Convolution& conv) const {
    const int taps = static_cast<int>(conv.taps.size());
    const Depth depth = depth_of(taps, conv.in_channels, size_of(plan_.dtype));
    step.kind = Kind::kConv;
    step.stride = extent(conv.stride);
    step.channels = conv.out_channels;
    // Of a pair's; others are cut by batch.
    step.cut = {kBaseShape, kPairShape.rows, divide_up(conv.out_channels, kPairShape.columns)};
    step.tap_count = taps;
    step.tap_vectors = depth.tap_vectors;
    step.chunks = depth.chunks;
    const auto cut = segment_chunks_.find(&conv);
    step.segment_chunks = cut == segment_chunks_.end() ? depth.chunks : cut->second;
    step.segments = divide_up(step.chunks, step.segment_chunks);
    step.whole_vectors = has_whole_vectors(step.source, conv.taps);
  }

  std::int64_t add_taps(const std::vector<Pair>& taps) {
    std::vector<Extent> extents;
    for (const Pair& tap : taps) extents.push_back(extent(tap));
    return add_constant(std::as_bytes(std::span(extents)));
  }

  void add_convolution(Step& step, const Convolution& conv) {
    step.taps = add_taps(conv.taps);
    if (step.whole_vectors) program_.aligned.insert(step.source.base);
    step.weight = static_cast<std::int64_t>(align_constants());
    pack_weights(constants_.find(conv.weight)->second, conv.out_channels, step.tap_count,
                 conv.in_channels, size_of(plan_.dtype), program_.constants);
    prepare_weights(std::span(program_.constants).subspan(step.weight), precision_);
    step.weight_columns = weight_columns(conv.out_channels);
    step.bias = add_vector(conv.bias);
  }

  // Whether VectorLoader can read a source: the pixels' channels are whole vectors, at aligned
  // addresses where the buffer's is, and fit its arithmetic.
  bool has_whole_vectors(const View& source, const std::vector<Pair>& taps) const {
    const int length = kVectorBytes / static_cast<int>(size_of(plan_.dtype));
    if (source.base < 0 || source.base == kInputBase || taps.size() > kMostTaps) return false;
    for (const std::int64_t elements : {std::int64_t{source.pitch}, std::int64_t{source.start},
                                        std::int64_t{source.channels}, source.offset}) {
      if (elements % length != 0) return false;
    }
    const auto far = [](const Pair& tap) {
      return std::max(std::abs(tap.vertical), std::abs(tap.horizontal)) > kMostExtent;
    };
    const std::int64_t image = std::int64_t{source.height} * source.width * source.pitch;
    return source.height <= kMostExtent && source.width <= kMostExtent &&
           std::ranges::none_of(taps, far) &&
           image / length <= std::numeric_limits<int>::max() / kMostImages;
  }

  void set_convolution(Step& step, const Convolution& conv) {
    describe_convolution(step, conv);
    add_convolution(step, conv);
  }

  Step describe_first(const PairStep& pair) const {
    Step step = sized_as({.height = pair.middle_height, .width = pair.middle_width});
    step.source = view(pair.source);
    describe_convolution(step, pair.first);
    return step;
  }

  // But for the tile.
  Step describe_second(const PairStep& pair) const {
    Step step = sized_as(view(pair.destinations.front().slice));
    step.source = {.height = pair.middle_height,
                   .width = pair.middle_width,
                   .channels = pair.first.out_channels};
    describe_convolution(step, pair.second);
    const auto [low, high] = std::ranges::minmax_element(pair.second.taps, {}, &Pair::vertical);
    step.lowest_tap = low->vertical;
    step.highest_tap = high->vertical;
    step.kind = Kind::kPair;
    return step;
  }

  Step pair_of(const PairStep& pair, const PairOfSteps& described, const PairShape& shape,
               const PairShapes& all) {
    Step first = described.first, step = described.second;
    add_convolution(first, pair.first);
    step.first = add_constant(std::as_bytes(std::span(&first, 1)));
    step.middle_relu = pair.first_relu;
    step.cluster_log2 = all.cluster_log2;
    step.cut.group_pixels = shape.group_pixels;
    if (pair.residual) step.other = view(*pair.residual);
    set_targets(step, pair.destinations);
    add_convolution(step, pair.second);
    return step;
  }

  Step first_of(const PairStep& pair, const View& middle) {
    Step step;
    step.source = view(pair.source);
    set_targets(step, std::vector<Target>{{middle, 0, finish_of(pair.first_relu)}});
    set_convolution(step, pair.first);
    return step;
  }

  Step second_of(const PairStep& pair, const View& middle) {
    Step step;
    step.source = middle;
    if (pair.residual) step.other = view(*pair.residual);
    set_targets(step, pair.destinations);
    set_convolution(step, pair.second);
    return step;
  }

  Step make_step(const ifast::Step& step) {
    Step result;
    result.source = view(source_of(step));
    if (const Slice* second = second_source_of(step)) result.other = view(*second);
    set_targets(result, destinations_of(step));
    set_pixel_groups(result);
    std::visit([&](const auto& s) { finish(result, s); }, step);
    return result;
  }

  void finish(Step& step, const ConvStep& s) { set_convolution(step, s.conv); }
  void finish(Step&, const PairStep&) {}  // build() takes it apart
  void finish(Step& step, const PoolStep& s) {
    step.kind = s.mode == PoolMode::kMax ? Kind::kMaxPool : Kind::kAveragePool;
    step.kernel = extent(s.kernel);
    step.stride = extent(s.stride);
    step.padding = extent(s.padding);
    step.padding_end = extent(s.padding_end);
    step.counts_padding = s.divisor == Divisor::kWindow;
    step.adaptive = s.adaptive;
    step.bias = add_vector(s.bias);
  }
  void finish(Step& step, const PointwiseStep& s) {
    step.kind = Kind::kPointwise;
    step.scale = add_vector(s.scale);
    step.bias = add_vector(s.shift);
  }
  void finish(Step& step, const PadStep& s) {
    step.kind = Kind::kPad;
    step.padding = extent(s.padding);
    step.value = static_cast<float>(s.value);
    step.bytes = plan_.buffers[s.source.buffer].dtype.has_value();
    step.scale = add_vector(s.scale);
    step.bias = add_vector(s.shift);
  }
  void finish(Step& step, const ResizeStep& s) {
    step.kind = Kind::kResize;
    step.align_corners = s.align_corners;
  }
  void finish(Step& step, const NormalizeStep& s) {
    step.kind = Kind::kNormalize;
    set_whole_pixels(step);
    step.eps = static_cast<float>(s.eps);
  }
  void finish(Step& step, const SoftmaxStep& s) {
    step.kind = Kind::kSoftmax;
    set_whole_pixels(step);
    step.logarithm = s.log;
  }
  void finish(Step& step, const DepthwiseStep& s) {
    step.kind = Kind::kDepthwise;
    step.stride = extent(s.stride);
    step.tap_count = static_cast<int>(s.taps.size());
    step.taps = add_taps(s.taps);
    step.weight = static_cast<std::int64_t>(align_constants());
    pack_depthwise(constants_.find(s.weight)->second, step.tap_count, step.channels,
                   size_of(plan_.dtype), program_.constants);
    step.bias = add_vector(s.bias);
  }
  void finish(Step& step, const LocalResponseStep& s) {
    step.kind = Kind::kLocalResponse;
    step.window = s.size;
    step.alpha = static_cast<float>(s.alpha);
    step.beta = static_cast<float>(s.beta);
    step.k = static_cast<float>(s.k);
  }
  void finish(Step& step, const GateStep&) { step.kind = Kind::kGate; }

  const Plan& plan_;
  const ConstantBytes& constants_;
  const Precision precision_;
  const bool share_memory_;
  const bool keep_pairs_;
  const DeviceLimits& limits_;
  const LaunchOptions& options_;
  std::vector<std::int64_t> offsets_;  // of each buffer, in the arena
  std::vector<int> bases_;             // of each buffer
  std::map<const Convolution*, int> segment_chunks_;
  Program program_;
};

}  // namespace

Program build_program(const Plan& plan, const ConstantBytes& constants, Precision precision,
                      Driver driver, const DeviceLimits& limits, const LaunchOptions& options) {
  check_constants(plan, constants);
  if (plan.dtype == Dtype::kFloat64 || plan.dtype == Dtype::kUInt8) {
    throw EngineError("dtype: got " + std::string(ifast::name_of(plan.dtype)) +
                      ", expected float32, float16 or bfloat16");
  }
  return Builder(plan, constants, precision, driver, limits, options).build();
}

}  // namespace ifast::cuda
