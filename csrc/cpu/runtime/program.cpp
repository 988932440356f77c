#include "cpu/runtime/program.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "cpu/conv/choice.h"
#include "cpu/kernels/convert.h"
#include "cpu/ops/channel_ops.h"
#include "cpu/ops/depthwise.h"
#include "cpu/ops/element_ops.h"
#include "cpu/ops/pad_ops.h"
#include "cpu/ops/pixel_ops.h"
#include "cpu/ops/pool.h"
#include "plan/engine_file.h"

namespace ifast::cpu {
namespace {

class Builder {
 public:
  Builder(const Plan& plan, const ConstantBytes& constants, Isa isa, const std::string& algorithm,
          const ConstantDigests& digests, std::shared_ptr<WeightPool> pool)
      : plan_(plan),
        constants_(constants),
        digests_(digests),
        choice_{algorithm},
        quantized_(plan.dtype == Dtype::kUInt8),
        kernels_(kernels_for(isa, plan.dtype)),
        number_kernels_(quantized_ ? kernels_for(isa, Dtype::kFloat32) : kernels_),
        float_kernels_(kernels_for(isa, Dtype::kFloat32)) {
    program_.dtype = plan.dtype;
    program_.weights = WeightStore(std::move(pool));
    program_.buffers = plan.buffers;
    program_.arena = base_ = plan.arena;
    program_.input = plan.input();
    for (std::size_t i = 0; i < plan.buffers.size(); ++i) {
      if (plan.buffers[i].home == Home::kOutput) program_.outputs.push_back(static_cast<int>(i));
    }
  }

  Program build() {
    if (!reads_input_in_place() || gains_from_copy()) copy_input();
    if (!quantized_) choice_.share_price = price_of_shares();
    for (const std::vector<int>& stage : plan_.stages) {
      std::int64_t middles = base_;
      std::vector<int> before, now, then;
      for (int i : stage) {
        const Step& step = plan_.steps[i];
        if (const auto* pair = std::get_if<PairStep>(&step)) {
          const int middle = add_middle(*pair, middles);
          add(now, pair->name, first_of(*pair, middle));
          add(then, pair->name, second_of(*pair, middle));
        } else if (quantized_ && !is_on_elements(step)) {
          add_on_numbers(step, middles, before, now, then);
        } else {
          add(now, name_of(step), make_op(step));
        }
      }
      program_.arena = std::max(program_.arena, middles);
      for (std::vector<int>* ops : {&before, &now, &then}) {
        if (!ops->empty()) program_.stages.push_back(std::move(*ops));
      }
    }
    return std::move(program_);
  }

 private:
  // Of a quantised Plan's steps.
  static bool is_on_elements(const Step& step) {
    const auto* pool = std::get_if<PoolStep>(&step);
    return std::holds_alternative<ConvStep>(step) || (pool != nullptr && !pool->adaptive);
  }

  void add(std::vector<int>& stage, const std::string& name, std::unique_ptr<Op> op) {
    stage.push_back(static_cast<int>(program_.ops.size()));
    program_.ops.push_back(std::move(op));
    program_.names.push_back(name);
  }

  // What computes on numbers reads and writes copies of them, which live for one stage only.
  void add_on_numbers(const Step& step, std::int64_t& end, std::vector<int>& before,
                      std::vector<int>& now, std::vector<int>& then) {
    const std::string& name = name_of(step);
    const auto copy = [&](const View& elements) {
      Buffer buffer{name + " (numbers)", elements.height, elements.width, elements.channels};
      buffer.offset = place(buffer.size() * static_cast<std::int64_t>(sizeof(float)), end);
      program_.buffers.push_back(buffer);
      const int index = static_cast<int>(program_.buffers.size()) - 1;
      return View{index, elements.height, elements.width, elements.channels, 0, elements.channels};
    };
    const auto read = [&](const Slice& slice) {
      const View elements = view(slice), numbers = copy(elements);
      add(before, name, std::make_unique<DequantizeOp>(elements, numbers, kernels_));
      return numbers;
    };
    // Bytes are looked up as they are.
    const View source = reads_bytes(step) ? view(source_of(step)) : read(source_of(step));
    const Slice* second = second_source_of(step);
    const std::optional<View> other = second ? std::optional(read(*second)) : std::nullopt;
    const Target result = target(destinations_of(step)[0]);
    const bool in_place = result.view.element_size == sizeof(float) || reads_bytes(step);
    const Target numbers = in_place ? result : Target{copy(result.view), false, result.function};
    add(now, name, make_on_numbers(step, source, other, numbers));
    if (!in_place) {
      add(then, name, std::make_unique<QuantizeOp>(numbers.view, result, kernels_));
    }
  }

  // other: the second operand, or a gate.
  std::unique_ptr<Op> make_on_numbers(const Step& step, const View& source,
                                      const std::optional<View>& other, const Target& target) {
    return std::visit([&](const auto& s) { return on_numbers(s, source, other, target); }, step);
  }

  template <class Convolving>
    requires requires(Convolving s) { s.destinations; }
  std::unique_ptr<Op> on_numbers(const Convolving& s, const View&, const std::optional<View>&,
                                 const Target&) const {
    throw EngineError("step " + s.name + ": a convolution does not compute on numbers");
  }
  std::unique_ptr<Op> on_numbers(const DepthwiseStep& s, const View& source,
                                 const std::optional<View>&, const Target& target) const {
    return std::make_unique<DepthwiseOp>(s, source, target, floats(s.weight), floats(s.bias),
                                         number_kernels_);
  }
  std::unique_ptr<Op> on_numbers(const PoolStep& s, const View& source, const std::optional<View>&,
                                 const Target& target) const {
    return std::make_unique<PoolOp>(s, source, target, floats(s.bias), number_kernels_);
  }
  std::unique_ptr<Op> on_numbers(const PointwiseStep& s, const View& source,
                                 const std::optional<View>& other, const Target& target) const {
    return std::make_unique<PointwiseOp>(source, target, floats(s.scale), floats(s.shift), other,
                                         number_kernels_);
  }
  std::unique_ptr<Op> on_numbers(const PadStep& s, const View& source, const std::optional<View>&,
                                 const Target& target) const {
    const std::vector<float> scale = floats(s.scale), shift = floats(s.shift);
    if (plan_.buffers[s.source.buffer].dtype) {
      const bool quantizes = quantized_ && target.view.element_size == 1;
      return std::make_unique<BytesOp>(
          s, source, target,
          table_of_bytes(s, scale, shift, target, quantizes ? &kernels_ : nullptr, float_kernels_,
                         outside_of(plan_.dtype)));
    }
    return std::make_unique<PadOp>(s, source, target, scale, shift, number_kernels_,
                                   outside_of(plan_.dtype));
  }
  std::unique_ptr<Op> on_numbers(const ResizeStep& s, const View& source,
                                 const std::optional<View>&, const Target& target) const {
    return std::make_unique<ResizeOp>(source, target, s.align_corners, number_kernels_);
  }
  std::unique_ptr<Op> on_numbers(const NormalizeStep& s, const View& source,
                                 const std::optional<View>&, const Target& target) const {
    return std::make_unique<NormalizeOp>(source, target, static_cast<float>(s.eps),
                                         number_kernels_);
  }
  std::unique_ptr<Op> on_numbers(const SoftmaxStep& s, const View& source,
                                 const std::optional<View>&, const Target& target) const {
    return std::make_unique<SoftmaxOp>(source, target, s.log, number_kernels_);
  }
  std::unique_ptr<Op> on_numbers(const LocalResponseStep& s, const View& source,
                                 const std::optional<View>&, const Target& target) const {
    return std::make_unique<LocalResponseOp>(s, source, target, number_kernels_);
  }
  std::unique_ptr<Op> on_numbers(const GateStep&, const View& source,
                                 const std::optional<View>& gate, const Target& target) const {
    return std::make_unique<GateOp>(source, *gate, target, number_kernels_);
  }

  bool reads_bytes(const Step& step) const {
    return plan_.buffers[source_of(step).buffer].dtype.has_value();
  }

  // Bytes and convolutions take the caller's strides, quantised ones of few channels; everything
  // else wants NHWC, or elements.
  bool reads_input_in_place() const {
    return std::all_of(plan_.steps.begin(), plan_.steps.end(), [&](const Step& step) {
      const Slice* second = second_source_of(step);
      if (second && second->buffer == program_.input) return false;
      if (reads_bytes(step)) return true;
      if (const auto* conv = std::get_if<ConvStep>(&step)) {
        return !quantized_ || conv->source.buffer != program_.input ||
               (!second && quantizes_input(conv->conv));
      }
      return source_of(step).buffer != program_.input;
    });
  }

  void copy_input() {
    Buffer copy = plan_.buffers[program_.input];
    copy.home = Home::kArena;
    copy.offset = place(copy.size(), base_);
    program_.arena = base_;
    const Slice all{program_.input, 0, copy.channels};
    const View from = view(all);
    // From here on view() answers with the copy.
    input_copy_ = static_cast<int>(program_.buffers.size());
    program_.buffers.push_back(copy);
    std::vector<int> stage;
    if (quantized_) {
      add(stage, "input", std::make_unique<QuantizeOp>(from, Target{view(all), false}, kernels_));
    } else {
      add(stage, "input", std::make_unique<CopyInputOp>(from, view(all)));
    }
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
    View view{index, buffer.height, buffer.width, slice.channels, slice.start, buffer.channels};
    const bool numbers = !buffer.scale || index == program_.input;
    view.element_size = quantized_ && numbers ? sizeof(float) : size_of(plan_.dtype);
    if (buffer.dtype) view.element_size = size_of(*buffer.dtype);
    view.scale = static_cast<float>(buffer.scale.value_or(1.0));
    view.zero = buffer.zero;
    return view;
  }

  Target target(const Destination& destination) const {
    Target target{view(destination.slice), destination.relu};
    if (const auto& f = destination.activation) {
      target.function = {f->function, f->alpha, f->beta, floats(f->slope)};
    }
    return target;
  }

  std::optional<View> view(const std::optional<Slice>& slice) const {
    return slice ? std::optional(view(*slice)) : std::nullopt;
  }

  std::vector<float> floats(const std::optional<std::string>& name) const {
    if (!name) return {};
    return to_floats(constants_.at(*name), plan_.constants.at(*name).dtype);
  }

  // Of everything but the constants.
  static ConvProblem problem_of(const Convolution& conv, View source, std::vector<Target> targets,
                                std::optional<View> residual) {
    ConvProblem problem;
    problem.source = source;
    problem.targets = std::move(targets);
    problem.residual = residual;
    problem.taps = conv.taps;
    problem.stride = conv.stride;
    problem.in_channels = conv.in_channels;
    problem.out_channels = conv.out_channels;
    problem.sensitivity = conv.sensitivity;
    return problem;
  }

  // Of all that a convolution's constants hold; empty where one of them has none.
  std::string digest_of(const Convolution& conv) const {
    std::string all;
    for (const std::optional<std::string>& name :
         {std::optional(conv.weight), conv.bias, conv.scale}) {
      const auto found = name ? digests_.find(*name) : digests_.end();
      if (name && found == digests_.end()) return {};
      // The same bytes are other numbers in another dtype.
      if (name) (all += found->second) += name_of(plan_.constants.at(*name).dtype);
      all += ' ';
    }
    return all;
  }

  bool is_strided(const View& source) const { return source.buffer == program_.input; }

  // Of every convolution, without its weights.
  std::vector<ConvProblem> problems() const {
    std::vector<ConvProblem> found;
    for (const Step& step : plan_.steps) {
      if (const auto* s = std::get_if<ConvStep>(&step)) {
        found.push_back(
            problem_of(s->conv, view(s->source), targets(s->destinations), view(s->residual)));
      } else if (const auto* pair = std::get_if<PairStep>(&step)) {
        const int channels = pair->first.out_channels;
        const View middle{-1, pair->middle_height, pair->middle_width, channels, 0, channels};
        found.push_back(problem_of(pair->first, view(pair->source), {{middle, pair->first_relu}},
                                   std::nullopt));
        found.push_back(
            problem_of(pair->second, middle, targets(pair->destinations), view(pair->residual)));
      }
    }
    return found;
  }

  double price_of_shares() const {
    std::vector<std::vector<ConvCandidate>> convs;
    for (const ConvProblem& problem : problems()) {
      convs.push_back(conv_candidates(problem, is_strided(problem.source), kernels_, plan_.dtype));
    }
    return share_price(convs);
  }

  // Whether convolutions of the input would be so much faster in NHWC that a copy pays: by
  // Winograd, which does not read the caller's strides.
  bool gains_from_copy() const {
    if (quantized_ || !choice_.algorithm.empty()) return false;
    const std::vector<ConvProblem> all = problems();
    std::vector<std::vector<ConvCandidate>> convs;
    for (const ConvProblem& problem : all) {
      convs.push_back(conv_candidates(problem, false, kernels_, plan_.dtype));
    }
    const double price = share_price(convs);
    double gain = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (is_strided(all[i].source)) gain += copy_gain(all[i], convs[i], price);
    }
    const Buffer& input = plan_.buffers[program_.input];
    return gain > copy_cost(view(Slice{program_.input, 0, input.channels}), kernels_);
  }

  std::unique_ptr<Op> make_conv(const Convolution& conv, View source, std::vector<Target> targets,
                                std::optional<View> residual) {
    ConvProblem problem = problem_of(conv, source, std::move(targets), residual);
    problem.weights = floats(conv.weight);
    problem.constants = digest_of(conv);
    if (quantized_) {
      problem.weight_scale = floats(conv.scale);
      if (conv.bias) problem.sum_bias = to_integers(constants_.at(*conv.bias));
      if (conv.winograd) problem.winograd = winograd_taps(conv, *conv.winograd);
    } else {
      problem.bias = floats(conv.bias);
    }
    return choose_conv(std::move(problem), is_strided(source), choice_, kernels_, plan_.dtype,
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
    if (const auto* s = std::get_if<ConvStep>(&step)) {
      return make_conv(s->conv, view(s->source), targets(s->destinations), view(s->residual));
    }
    if (const auto* s = std::get_if<PoolStep>(&step)) {
      return std::make_unique<PoolOp>(*s, view(s->source), target(s->destination), floats(s->bias),
                                      kernels_);
    }
    const Slice* second = second_source_of(step);
    const std::optional<View> other = second ? std::optional(view(*second)) : std::nullopt;
    return make_on_numbers(step, view(source_of(step)), other, target(destinations_of(step)[0]));
  }

  const Plan& plan_;
  const ConstantBytes& constants_;
  const ConstantDigests& digests_;
  ConvChoice choice_;
  const bool quantized_;
  Kernels kernels_;
  Kernels number_kernels_;  // of what computes on numbers in a quantised Plan; else the same
  Kernels float_kernels_;
  Program program_;
  std::optional<int> input_copy_;
  std::int64_t base_ = 0;  // of the arena: the end of what lives in more than one stage
};

}  // namespace

Program build_program(const Plan& plan, const ConstantBytes& constants, Isa isa,
                      const std::string& algorithm, const ConstantDigests& digests,
                      std::shared_ptr<WeightPool> pool) {
  check_constants(plan, constants);
  if (plan.dtype == Dtype::kFloat64) {
    throw EngineError("dtype: got float64, expected float32, float16, bfloat16 or uint8");
  }
  return Builder(plan, constants, isa, algorithm, digests, std::move(pool)).build();
}

}  // namespace ifast::cpu
