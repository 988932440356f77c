#include "plan/order.h"

#include <algorithm>
#include <limits>

namespace ifast {
namespace {

void require(bool condition, const char* subject, const std::string& name, const char* problem) {
  if (!condition) {
    throw EngineError("the Plan is not valid: " + std::string(subject) + " " + name + ": " +
                      problem);
  }
}

// Disjoint runs of channels, start -> end, merged where they touch.
class Channels {
 public:
  bool contains(int start, int end) const {
    const auto after = runs_.upper_bound(start);
    return after != runs_.begin() && std::prev(after)->second >= end;
  }

  // Adds [start, end); false where a part of it was there already.
  bool add(int start, int end) {
    auto after = runs_.upper_bound(start);
    if (after != runs_.end() && after->first < end) return false;
    if (after != runs_.begin()) {
      const auto before = std::prev(after);
      if (before->second > start) return false;
      if (before->second == start) {
        start = before->first;
        runs_.erase(before);
      }
    }
    if (after != runs_.end() && after->first == end) {
      end = after->second;
      runs_.erase(after);
    }
    runs_.emplace(start, end);
    return true;
  }

 private:
  std::map<int, int> runs_;
};

struct Lifetime {
  int first = std::numeric_limits<int>::max();
  int last = -1;

  bool overlaps(const Lifetime& other) const { return first <= other.last && other.first <= last; }
};

// A stage is a run of steps, as the stages list them in order.
std::span<const Step> steps_of(const Plan& plan, const std::vector<int>& stage) {
  return std::span(plan.steps).subspan(static_cast<std::size_t>(stage.front()), stage.size());
}

}  // namespace

void check_order(const Plan& plan) {
  std::vector<Channels> written(plan.buffers.size());
  const auto input = static_cast<std::size_t>(plan.input());
  written[input].add(0, plan.buffers[input].channels);
  const auto of = [&](const Slice& piece) -> Channels& {
    return written[static_cast<std::size_t>(piece.buffer)];
  };
  for (const auto& stage : plan.stages) {
    for (const Step& step : steps_of(plan, stage)) {
      for (const Slice* piece : {&source_of(step), second_source_of(step)}) {
        require(!piece || of(*piece).contains(piece->start, piece->start + piece->channels), "step",
                name_of(step), "it reads what is not written yet");
      }
    }
    for (const Step& step : steps_of(plan, stage)) {
      for (const Destination& destination : destinations_of(step)) {
        const Slice& piece = destination.slice;
        require(of(piece).add(piece.start, piece.start + piece.channels), "step", name_of(step),
                "it writes channels a second time");
      }
    }
  }
  for (std::size_t i = 0; i < written.size(); ++i) {
    require(written[i].contains(0, plan.buffers[i].channels), "buffer", plan.buffers[i].name,
            "some channels are never written");
  }
}

void check_memory(const Plan& plan) {
  std::vector<Lifetime> lives(plan.buffers.size());
  for (int stage = 0; stage < std::ssize(plan.stages); ++stage) {
    const auto touch = [&](const Slice& piece) {
      Lifetime& life = lives[static_cast<std::size_t>(piece.buffer)];
      life = {std::min(life.first, stage), stage};
    };
    for (const Step& step : steps_of(plan, plan.stages[static_cast<std::size_t>(stage)])) {
      touch(source_of(step));
      if (const Slice* second = second_source_of(step)) touch(*second);
      for (const Destination& destination : destinations_of(step)) touch(destination.slice);
    }
  }
  std::vector<std::size_t> placed;
  for (std::size_t i = 0; i < plan.buffers.size(); ++i) {
    if (plan.buffers[i].home == Home::kArena) placed.push_back(i);
  }
  std::ranges::sort(placed, {}, [&](std::size_t i) { return plan.buffers[i].offset; });
  for (auto a = placed.begin(); a != placed.end(); ++a) {
    const Buffer& buffer = plan.buffers[*a];
    const std::int64_t end = buffer.offset + buffer.size();
    for (auto b = a + 1; b != placed.end() && plan.buffers[*b].offset < end; ++b) {
      require(!lives[*a].overlaps(lives[*b]), "buffer", buffer.name,
              "it shares memory with another live buffer");
    }
  }
}

}  // namespace ifast
