#include "cpu/program.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "cpu/conv_choice.h"
#include "cpu/convert.h"
#include "cpu/pixel_ops.h"
#include "cpu/pool_op.h"
#include "plan/engine_file.h"

namespace ifast::cpu {
namespace {

class Builder {
 public:
  Builder(const Plan& plan, const ConstantBytes& constants, Isa isa, const std::string& algorithm)
      : plan_(plan),
        constants_(constants),
        algorithm_(algorithm),
        kernels_(kernels_for(isa, plan.dtype)) {
    program_.dtype = plan.dtype;
    program_.buffers = plan.buffers;
    program_.arena = base_ = plan.arena;
    program_.input = plan.input();
    for (std::size_t i = 0; i < plan.buffers.size(); ++i) {
      if (plan.buffers[i].home == Home::kOutput) program_.outputs.push_back(static_cast<int>(i));
    }
  }

  Program build() {
    if (!reads_input_in_place()) copy_input();
    for (const std::vector<int>& stage : plan_.stages) {
      std::int64_t middles = base_;
      std::vector<int> now, then;
      for (int i : stage) {
        if (const auto* pair = std::get_if<PairStep>(&plan_.steps[i])) {
          const int middle = add_middle(*pair, middles);
          add(now, pair->name, first_of(*pair, middle));
          add(then, pair->name, second_of(*pair, middle));
        } else {
          add(now, name_of(plan_.steps[i]), make_op(plan_.steps[i]));
        }
      }
      program_.arena = std::max(program_.arena, middles);
      program_.stages.push_back(std::move(now));
      if (!then.empty()) program_.stages.push_back(std::move(then));
    }
    return std::move(program_);
  }

 private:
  void add(std::vector<int>& stage, const std::string& name, std::unique_ptr<Op> op) {
    stage.push_back(static_cast<int>(program_.ops.size()));
    program_.ops.push_back(std::move(op));
    program_.names.push_back(name);
  }

  // Convolutions take the caller's strides; everything else wants NHWC.
  bool reads_input_in_place() const {
    return std::all_of(plan_.steps.begin(), plan_.steps.end(), [&](const Step& step) {
      if (const auto* conv = std::get_if<ConvStep>(&step)) {
        return !conv->residual || conv->residual->buffer != program_.input;
      }
      if (const auto* pointwise = std::get_if<PointwiseStep>(&step)) {
        if (pointwise->other && pointwise->other->buffer == program_.input) return false;
      }
      return source_of(step).buffer != program_.input;
    });
  }

  void copy_input() {
    Buffer copy = plan_.buffers[program_.input];
    copy.home = Home::kArena;
    copy.offset = place(copy.size(), base_);
    program_.arena = base_;
    input_copy_ = static_cast<int>(program_.buffers.size());
    program_.buffers.push_back(copy);
    const Slice all{program_.input, 0, copy.channels};
    View from = view(all);
    from.buffer = program_.input;  // view() already answers with the copy
    std::vector<int> stage;
    add(stage, "input", std::make_unique<CopyInputOp>(from, view(all)));
    program_.stages.push_back(std::move(stage));
  }

  // Intermediates of pairs live for one stage only, after everything else.
  int add_middle(const PairStep& pair, std::int64_t& end) {
    Buffer middle{pair.name + " (middle)", pair.middle_height, pair.middle_width,
                  pair.first.out_channels, Home::kArena,       0};
    middle.offset = place(middle.size(), end);
    program_.buffers.push_back(middle);
    return static_cast<int>(program_.buffers.size()) - 1;
  }

  static std::int64_t place(std::int64_t size, std::int64_t& end) {
    const std::int64_t offset = (end + kAlignment - 1) / kAlignment * kAlignment;
    end = offset + size;
    return offset;
  }

  View view(const Slice& slice) const {
    const int index = slice.buffer == program_.input && input_copy_ ? *input_copy_ : slice.buffer;
    const Buffer& buffer = program_.buffers[index];
    return {index, buffer.height, buffer.width, slice.channels, slice.start, buffer.channels};
  }

  Target target(const Destination& destination) const {
    return {view(destination.slice), destination.relu};
  }

  std::optional<View> view(const std::optional<Slice>& slice) const {
    return slice ? std::optional(view(*slice)) : std::nullopt;
  }

  std::vector<float> floats(const std::optional<std::string>& name) const {
    if (!name) return {};
    return to_floats(constants_.at(*name), plan_.constants.at(*name).dtype);
  }

  std::unique_ptr<Op> make_conv(const Convolution& conv, View source, std::vector<Target> targets,
                                std::optional<View> residual) {
    ConvProblem problem;
    problem.source = source;
    problem.targets = std::move(targets);
    problem.residual = residual;
    problem.taps = conv.taps;
    problem.stride = conv.stride;
    problem.in_channels = conv.in_channels;
    problem.out_channels = conv.out_channels;
    problem.weights = floats(conv.weight);
    problem.bias = floats(conv.bias);
    const bool strided = source.buffer == program_.input;
    return choose_conv(std::move(problem), strided, algorithm_, kernels_, plan_.dtype,
                       program_.weights);
  }

  std::vector<Target> targets(const std::vector<Destination>& destinations) const {
    std::vector<Target> result;
    for (const Destination& d : destinations) result.push_back(target(d));
    return result;
  }

  std::unique_ptr<Op> first_of(const PairStep& pair, int middle) {
    const Slice all{middle, 0, pair.first.out_channels};
    return make_conv(pair.first, view(pair.source), {{view(all), pair.first_relu}}, std::nullopt);
  }

  std::unique_ptr<Op> second_of(const PairStep& pair, int middle) {
    const Slice all{middle, 0, pair.first.out_channels};
    return make_conv(pair.second, view(all), targets(pair.destinations), view(pair.residual));
  }

  std::unique_ptr<Op> make_op(const Step& step) {
    return std::visit([this](const auto& s) { return make(s); }, step);
  }
  std::unique_ptr<Op> make(const ConvStep& s) {
    return make_conv(s.conv, view(s.source), targets(s.destinations), view(s.residual));
  }
  std::unique_ptr<Op> make(const PairStep&) { return nullptr; }  // build() takes it apart
  std::unique_ptr<Op> make(const PoolStep& s) {
    return std::make_unique<PoolOp>(s, view(s.source), target(s.destination), floats(s.bias),
                                    kernels_);
  }
  std::unique_ptr<Op> make(const PointwiseStep& s) {
    return std::make_unique<PointwiseOp>(view(s.source), target(s.destination), floats(s.scale),
                                         floats(s.shift), view(s.other), kernels_);
  }
  std::unique_ptr<Op> make(const ResizeStep& s) {
    return std::make_unique<ResizeOp>(view(s.source), target(s.destination), s.align_corners,
                                      kernels_);
  }
  std::unique_ptr<Op> make(const NormalizeStep& s) {
    return std::make_unique<NormalizeOp>(view(s.source), target(s.destination),
                                         static_cast<float>(s.eps), kernels_);
  }

  const Plan& plan_;
  const ConstantBytes& constants_;
  const std::string& algorithm_;
  Kernels kernels_;
  Program program_;
  std::optional<int> input_copy_;
  std::int64_t base_ = 0;  // of the arena: the end of what lives in more than one stage
};

}  // namespace

Program build_program(const Plan& plan, const ConstantBytes& constants, Isa isa,
                      const std::string& algorithm) {
  check_constants(plan, constants);
  if (plan.dtype == Dtype::kFloat64) {
    throw EngineError("dtype: got float64, expected float32, float16 or bfloat16");
  }
  return Builder(plan, constants, isa, algorithm).build();
}

}  // namespace ifast::cpu
