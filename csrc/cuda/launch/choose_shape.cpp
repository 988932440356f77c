#include "cuda/launch/choose_shape.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "cuda/launch/launch_work.h"
#include "cuda/launch/segments.h"

namespace ifast::cuda {
namespace {

// The convolutions of a launch, and what they take with one shape or another.
class Convolutions {
 public:
  Convolutions(std::span<const Step> steps, int batch, const ShapeChoice& choice)
      : choice_(choice) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (steps[i].kind != Kind::kConv) continue;
      Convolution own{static_cast<int>(i), steps[i].segments, {}};
      for (int shape = 0; shape < kShapeCount; ++shape) {
        if (!serves(kShapes[shape], steps[i], choice)) continue;
        Option& option = own.options[shape];
        option.served = true;
        for (const bool spread : {false, true}) {
          option.work[spread] =
              convolution_work(steps[i], kShapes[shape], batch, spread, choice.precision);
        }
      }
      convolutions_.push_back(std::move(own));
    }
    work_.steps.resize(convolutions_.size());
  }

  // Of each step; the base shape where it is no convolution.
  std::vector<int> choose(std::size_t steps) {
    std::vector<int> best(convolutions_.size(), kBaseShape);
    if (choice_.fixed >= 0) {
      best = alike(choice_.fixed);
    } else {
      double shortest = time(best);
      // The first steps towards a shape can cost what the last ones gain, so all begin with one.
      for (int shape = kBaseShape + 1; shape < kShapeCount; ++shape) {
        keep_shorter(alike(shape), best, shortest);
      }
      while (improve(best, shortest)) {
      }
    }
    std::vector<int> shapes(steps, kBaseShape);
    for (std::size_t i = 0; i < best.size(); ++i) shapes[convolutions_[i].index] = best[i];
    return shapes;
  }

 private:
  struct Option {
    bool served = false;
    std::array<StepWork, 2> work;  // by whether each segment has a block
  };
  struct Convolution {
    int index;
    int segments;
    std::array<Option, kShapeCount> options;
  };

  std::vector<int> alike(int shape) const {
    std::vector<int> shapes;
    for (const Convolution& own : convolutions_) {
      shapes.push_back(own.options[shape].served ? shape : kBaseShape);
    }
    return shapes;
  }

  double time(const std::vector<int>& shapes) {
    double segments = 0;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      const Convolution& own = convolutions_[i];
      segments += own.options[shapes[i]].work[false].blocks * own.segments;
    }
    const bool room = has_room(segments, static_cast<int>(choice_.machine.multiprocessors));
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      const Convolution& own = convolutions_[i];
      work_.steps[i] = own.options[shapes[i]].work[room && own.segments > 1];
    }
    return predict(work_, choice_.machine, {}).total;
  }

  bool keep_shorter(const std::vector<int>& candidate, std::vector<int>& best, double& shortest) {
    const double own = time(candidate);
    if (own >= shortest) return false;
    best = candidate;
    shortest = own;
    return true;
  }

  bool improve(std::vector<int>& best, double& shortest) {
    bool improved = false;
    for (std::size_t i = 0; i < best.size(); ++i) {
      for (int shape = 0; shape < kShapeCount; ++shape) {
        if (shape == best[i] || !convolutions_[i].options[shape].served) continue;
        std::vector<int> candidate = best;
        candidate[i] = shape;
        improved |= keep_shorter(candidate, best, shortest);
      }
    }
    return improved;
  }

  const ShapeChoice& choice_;
  std::vector<Convolution> convolutions_;
  LaunchWork work_;
};

}  // namespace

bool serves(const TileShape& shape, const Step& step, const ShapeChoice& choice) {
  const bool splits = choice.precision == Precision::kFp32;
  return (shape.any_source || step.whole_vectors) && offers(choice.kernel, shape, splits) &&
         shape.shared_bytes() <= choice.shared_bytes;
}

std::vector<Cut> choose_cuts(std::span<const Step> steps, int batch, const ShapeChoice& choice) {
  ShapeChoice among = choice;
  for (const Step& step : steps) {
    if (step.kind == Kind::kPair) among.kernel = KernelKind::kPair;
  }
  const std::vector<int> shapes = Convolutions(steps, batch, among).choose(steps.size());
  std::vector<Cut> cuts;
  for (std::size_t i = 0; i < steps.size(); ++i) cuts.push_back(cut_of(steps[i], shapes[i]));
  return cuts;
}

}  // namespace ifast::cuda
