#include "plan/check.h"

#include <algorithm>
#include <initializer_list>
#include <set>

#include "plan/order.h"
#include "plan/winograd_taps.h"

namespace ifast {
namespace {

void require(bool condition, const std::string& subject, const char* problem) {
  if (!condition) throw EngineError("the Plan is not valid: " + subject + ": " + problem);
}

template <class Number>
bool within(Number value, Number low, Number high) {
  return low <= value && value <= high;
}

bool is_extent(int value) { return within(value, 1, kMaxExtent); }
bool are_extents(const Pair& pair) {
  return is_extent(pair.vertical) && is_extent(pair.horizontal);
}
bool are_channels(int value) { return within(value, 1, kMaxChannels); }

// Multiplied after the single checks, so that the product fits in 64 bits.
bool is_image(int height, int width, int channels) {
  return is_extent(height) && is_extent(width) && are_channels(channels) &&
         std::int64_t{height} * width * channels <= kMaxElements;
}

class Checker {
 public:
  explicit Checker(const Plan& plan) : plan_(plan) {}

  void run() {
    require(plan_.dtype != Dtype::kInt8 && plan_.dtype != Dtype::kInt32, "dtype",
            "it is of constants only");
    require(plan_.buffers.size() <= kMaxCount, "buffers", "too many");
    require(plan_.steps.size() <= kMaxCount, "steps", "too many");
    buffers();
    stages();
    std::set<std::string_view> names;
    for (const Step& step : plan_.steps) {
      name_ = &name_of(step);
      require(!name_->empty() && names.insert(*name_).second, "step " + *name_,
              "the name is empty or used twice");
      this->step(step);
    }
    for (const auto& [name, constant] : plan_.constants) {
      require(used_.contains(name), "constant " + name, "no step reads it");
    }
    outputs();
    check_order(plan_);
    check_memory(plan_);
  }

 private:
  void require_step(bool condition, const char* problem) const {
    require(condition, "step " + *name_, problem);
  }

  bool is_quantized() const { return plan_.dtype == Dtype::kUInt8; }

  void buffers() const {
    require(within<std::int64_t>(plan_.arena, 0, kMaxElements), "arena",
            "its size is out of range");
    const auto inputs = std::ranges::count(plan_.buffers, Home::kInput, &Buffer::home);
    require(inputs == 1, "buffers", "there must be exactly one input");
    std::set<std::string_view> names;
    for (const Buffer& b : plan_.buffers) {
      const std::string subject = "buffer " + b.name;
      require(!b.name.empty() && names.insert(b.name).second, subject,
              "the name is empty or used twice");
      require(is_image(b.height, b.width, b.channels), subject, "its size is out of range");
      if (b.home == Home::kArena) {
        require(within<std::int64_t>(b.offset, 0, plan_.arena - b.size()), subject,
                "it leaves the arena");
        require(b.offset % kAlignment == 0, subject, "its offset is not aligned");
      } else {
        require(b.offset == 0, subject, "it has an offset but is not in the arena");
      }
      require(!b.dtype || (b.home == Home::kInput && *b.dtype == Dtype::kUInt8), subject,
              "a dtype of its own, of something else than an input of bytes");
      if (is_quantized() && b.home != Home::kOutput) {
        require(b.scale && within(*b.scale, 0x1p-64, 0x1p64) && within(b.zero, 0, 255), subject,
                "its scale or zero is missing or out of range");
        require(!b.dtype || (*b.scale == 1 && b.zero == 0), subject,
                "its bytes have another scale than 1 or another zero than 0");
      } else {
        require(!b.scale && b.zero == 0, subject, "it has a scale or a zero but is not quantised");
      }
    }
  }

  void stages() const {
    std::size_t expected = 0;
    for (const auto& stage : plan_.stages) {
      require(!stage.empty(), "stages", "one is empty");
      for (const int index : stage) {
        require(index >= 0 && static_cast<std::size_t>(index) == expected++, "stages",
                "they do not list every step once, in order");
      }
    }
    require(expected == plan_.steps.size(), "stages", "they do not list every step once, in order");
  }

  const Buffer& slice(const Slice& piece) const {
    require_step(piece.buffer >= 0 && static_cast<std::size_t>(piece.buffer) < plan_.buffers.size(),
                 "no such buffer");
    const Buffer& buffer = plan_.buffers[static_cast<std::size_t>(piece.buffer)];
    require_step(within(piece.channels, 1, buffer.channels) &&
                     within(piece.start, 0, buffer.channels - piece.channels),
                 "channels outside their buffer");
    return buffer;
  }

  void constant(const std::string& name, const std::vector<std::int64_t>& shape, Dtype dtype) {
    const auto found = plan_.constants.find(name);
    require_step(found != plan_.constants.end() && found->second.shape == shape &&
                     found->second.dtype == dtype,
                 "a constant is missing or of another shape or dtype");
    std::int64_t elements = 1;
    for (const std::int64_t extent : shape) {
      require_step(extent <= kMaxElements / elements, "a constant is too large");
      elements *= extent;
    }
    used_.insert(name);
  }

  void vector(const std::optional<std::string>& name, int channels) {
    if (name) constant(*name, {channels}, accumulator_of(plan_.dtype));
  }

  void window_of(const std::vector<Pair>& taps, const Pair& stride) const {
    std::set<std::pair<int, int>> seen;
    for (const Pair& tap : taps) {
      require_step(within(tap.vertical, -kMaxExtent, kMaxExtent) &&
                       within(tap.horizontal, -kMaxExtent, kMaxExtent),
                   "a tap is out of range");
      require_step(seen.emplace(tap.vertical, tap.horizontal).second, "a tap is repeated");
    }
    require_step(!seen.empty(), "taps are missing");
    require_step(are_extents(stride), "its stride is out of range");
  }

  void activation(const Step& step, const Destination& destination) {
    if (!destination.activation) return;
    const Activation& a = *destination.activation;
    require_step(std::holds_alternative<ConvStep>(step) ||
                     std::holds_alternative<DepthwiseStep>(step) ||
                     std::holds_alternative<PointwiseStep>(step),
                 "an activation behind a step that has none");
    require_step(!is_quantized() || !std::holds_alternative<ConvStep>(step),
                 "an activation behind a convolution of a quantised Plan");
    require_step(!destination.relu, "an activation and a ReLU besides");
    numbers({a.alpha, a.beta});
    require_step(a.slope.has_value() == (a.function == Function::kPRelu),
                 "a slope where, and only where, the activation is a prelu");
    vector(a.slope, destination.slice.channels);
  }

  void numbers(std::initializer_list<double> values) const {
    for (const double value : values) {
      require_step(within(value, -kMaxNumber, kMaxNumber), "a number out of float32's range");
    }
  }

  void convolution(const Convolution& conv) {
    window_of(conv.taps, conv.stride);
    require_step(are_channels(conv.in_channels) && are_channels(conv.out_channels),
                 "its channels are out of range");
    require_step(conv.scale.has_value() == is_quantized(),
                 "a convolution has a scale where, and only where, the Plan is quantised");
    if (const auto& s = conv.sensitivity) {
      require_step(!is_quantized(), "a sensitivity in a quantised Plan");
      require_step(within(s->noise, 0.0, kMostSensitive) && within(s->weights, 0.0, kMostSensitive),
                   "its sensitivity is out of range");
    }
    const std::int64_t taps = std::ssize(conv.taps);
    std::int64_t weights = taps;
    if (conv.winograd) {
      require_step(is_quantized(), "Winograd's F(2, 3) in a Plan that is not quantised");
      const auto lines = winograd_taps(conv, *conv.winograd);
      require_step(lines.has_value(),
                   "Winograd's F(2, 3) of taps that are no rectangle, row by row, at least three "
                   "long along its axis, or of a stride other than 1");
      weights = lines->weights();
    }
    require_step(!is_quantized() || taps * conv.in_channels <= kMaxQuantizedTerms,
                 "too many products in a quantised sum");
    constant(conv.weight, {conv.out_channels, weights, conv.in_channels},
             is_quantized() ? Dtype::kInt8 : plan_.dtype);
    if (conv.bias) {
      constant(*conv.bias, {conv.out_channels},
               is_quantized() ? Dtype::kInt32 : accumulator_of(plan_.dtype));
    }
    vector(conv.scale, conv.out_channels);
  }

  void step(const Step& step) {
    const Buffer& source = slice(source_of(step));
    const auto destinations = destinations_of(step);
    require_step(!destinations.empty(), "no destination");
    std::int64_t written = 0;
    const Buffer& target = slice(destinations[0].slice);
    for (const Destination& destination : destinations) {
      const Buffer& buffer = slice(destination.slice);
      require_step(buffer.height == target.height && buffer.width == target.width,
                   "destinations of different sizes");
      require_step(buffer.home != Home::kInput, "it writes the input");
      written += destination.slice.channels;
    }
    require_step(written <= kMaxChannels, "too many output channels");
    const int channels = static_cast<int>(written);
    require_step(std::holds_alternative<PadStep>(step) || !source.dtype, "it reads bytes");
    if (const Slice* second = second_source_of(step)) {
      const Buffer& buffer = slice(*second);
      require_step(!buffer.dtype, "it reads bytes");
      require_step(std::holds_alternative<GateStep>(step) || buffer.height == target.height &&
                                                                 buffer.width == target.width &&
                                                                 second->channels == channels,
                   "the second operand has another size than the result");
    }
    if (is_quantized()) {
      const Slice* second = second_source_of(step);
      require_step(source.home != Home::kOutput &&
                       (!second || plan_.buffers[static_cast<std::size_t>(second->buffer)].home !=
                                       Home::kOutput),
                   "it reads an output, which has no scale");
      require_step(!std::holds_alternative<PairStep>(step),
                   "a pair, whose intermediate has no scale");
    }
    for (const Destination& destination : destinations) activation(step, destination);
    for (const Convolution* conv : convolutions_of(step)) convolution(*conv);
    std::visit([&](const auto& s) { own_rules(s, source, target, channels); }, step);
  }

  void own_rules(const ConvStep& s, const Buffer&, const Buffer&, int channels) const {
    require_step(s.conv.in_channels == s.source.channels && s.conv.out_channels == channels,
                 "the convolution has other channels than its slices");
  }

  void own_rules(const PairStep& s, const Buffer&, const Buffer&, int channels) const {
    require_step(s.first.in_channels == s.source.channels &&
                     s.first.out_channels == s.second.in_channels &&
                     s.second.out_channels == channels,
                 "the convolutions have other channels than each other or their slices");
    require_step(is_image(s.middle_height, s.middle_width, s.first.out_channels),
                 "its intermediate is out of range");
  }

  void own_rules(const DepthwiseStep& s, const Buffer&, const Buffer&, int channels) {
    keeps_channels(s.source, channels);
    window_of(s.taps, s.stride);
    constant(s.weight, {std::ssize(s.taps), channels},
             is_quantized() ? Dtype::kFloat32 : plan_.dtype);
    vector(s.bias, channels);
  }

  void own_rules(const PoolStep& s, const Buffer& source, const Buffer& target, int channels) {
    keeps_channels(s.source, channels);
    if (s.adaptive) {
      const auto is = [](const Pair& pair, int value) {
        return pair.vertical == value && pair.horizontal == value;
      };
      require_step(is(s.kernel, 1) && is(s.stride, 1) && is(s.padding, 0) && is(s.padding_end, 0) &&
                       s.divisor == Divisor::kInside && !s.bias,
                   "an adaptive pool with a window of its own");
      return;
    }
    window(s.kernel.vertical, s.stride.vertical, s.padding.vertical, s.padding_end.vertical,
           source.height, target.height);
    window(s.kernel.horizontal, s.stride.horizontal, s.padding.horizontal, s.padding_end.horizontal,
           source.width, target.width);
    const std::int64_t pixels = std::int64_t{std::min(s.kernel.vertical, source.height)} *
                                std::min(s.kernel.horizontal, source.width);
    require_step(!is_quantized() || s.mode == PoolMode::kMax || pixels <= kMaxQuantizedWindow,
                 "too many pixels in a quantised average");
    require_step(!s.bias || s.mode == PoolMode::kAverage, "a bias on a max pool");
    vector(s.bias, channels);
  }

  // Every window must contain a pixel of the image, or its maximum or divisor would be undefined.
  void window(int kernel, int stride, int before, int after, int size, int out) const {
    require_step(is_extent(kernel) && is_extent(stride) && within(after, 0, kMaxExtent) &&
                     within(before, 0, kernel - 1) && (out - 1) * stride - before < size,
                 "a window lies outside the image");
  }

  void own_rules(const PointwiseStep& s, const Buffer& source, const Buffer& target, int channels) {
    keeps_channels(s.source, channels);
    keeps_plane(source, target);
    vector(s.scale, channels);
    vector(s.shift, channels);
  }

  void own_rules(const PadStep& s, const Buffer& source, const Buffer& target, int channels) {
    keeps_channels(s.source, channels);
    const auto inside = [](int before, int size, int out) {
      return within(before, 0, kMaxExtent) && before + size <= out;
    };
    require_step(inside(s.padding.vertical, source.height, target.height) &&
                     inside(s.padding.horizontal, source.width, target.width),
                 "the source leaves the destination");
    numbers({s.value});
    vector(s.scale, channels);
    vector(s.shift, channels);
  }

  void own_rules(const ResizeStep& s, const Buffer&, const Buffer&, int channels) const {
    keeps_channels(s.source, channels);
  }

  void own_rules(const NormalizeStep& s, const Buffer& source, const Buffer& target,
                 int channels) const {
    keeps_channels(s.source, channels);
    keeps_plane(source, target);
    require_step(within(s.eps, 0.0, kMaxEps), "its eps is out of range");
  }

  void own_rules(const SoftmaxStep& s, const Buffer& source, const Buffer& target,
                 int channels) const {
    keeps_channels(s.source, channels);
    keeps_plane(source, target);
  }

  void own_rules(const LocalResponseStep& s, const Buffer& source, const Buffer& target,
                 int channels) const {
    keeps_channels(s.source, channels);
    keeps_plane(source, target);
    require_step(are_channels(s.size), "its size is out of range");
    numbers({s.alpha, s.beta, s.k});
  }

  void own_rules(const GateStep& s, const Buffer& source, const Buffer& target,
                 int channels) const {
    keeps_channels(s.source, channels);
    keeps_plane(source, target);
    const Buffer& gate = slice(s.gate);
    require_step(((gate.height == target.height && gate.width == target.width) ||
                  (gate.height == 1 && gate.width == 1)) &&
                     (s.gate.channels == channels || s.gate.channels == 1),
                 "the gate has another size than the source");
  }

  void keeps_channels(const Slice& source, int channels) const {
    require_step(source.channels == channels, "it changes the number of channels");
  }

  void keeps_plane(const Buffer& source, const Buffer& target) const {
    require_step(source.height == target.height && source.width == target.width,
                 "it changes the image size");
  }

  void outputs() const {
    require(!plan_.outputs.empty(), "outputs", "there are none");
    std::set<int> returned;
    for (const Output& output : plan_.outputs) {
      require(output.buffer >= 0 && static_cast<std::size_t>(output.buffer) < plan_.buffers.size(),
              "outputs", "no such buffer");
      const Buffer& buffer = plan_.buffers[static_cast<std::size_t>(output.buffer)];
      require(buffer.home == Home::kOutput, "output " + buffer.name, "it is not an output buffer");
      returned.insert(output.buffer);
    }
    const auto made = std::ranges::count(plan_.buffers, Home::kOutput, &Buffer::home);
    require(made == std::ssize(returned), "outputs", "an output buffer is never returned");
  }

  const Plan& plan_;
  const std::string* name_ = nullptr;  // of the step that is being checked
  std::set<std::string_view> used_;    // constants
};

}  // namespace

void check(const Plan& plan) { Checker(plan).run(); }

}  // namespace ifast
