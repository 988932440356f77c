// concurrent_runs ISA FILE...: runs engine files from several threads at once, on executors with
// different numbers of workers, and compares every result with that of one thread alone. For
// sanitizers; needs no Python and no PyTorch.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

#include "cpu/kernels/convert.h"
#include "cpu/runtime/executor.h"
#include "plan/engine_file.h"

namespace {

using ifast::cpu::Executor;

constexpr int kBatch = 3;
constexpr int kCallers = 4;
constexpr int kRounds = 6;

// Images of small numbers, and the outputs they give.
class Pass {
 public:
  Pass(const ifast::Plan& plan, int seed) {
    const ifast::Buffer& in = plan.buffers[plan.input()];
    const ifast::Dtype dtype = ifast::outside_of(plan.dtype);
    std::vector<float> image(kBatch * in.size());
    for (float& x : image) x = static_cast<float>((seed = seed * 75 % 65537) % 17 - 8);
    image_ = ifast::cpu::from_floats(image, dtype);
    const std::ptrdiff_t row = in.width, plane = row * in.height;
    call_.strides = {plane * in.channels, row, 1, plane};
    for (const ifast::Buffer& b : plan.buffers) {
      if (b.home == ifast::Home::kOutput) {
        outputs_.emplace_back(kBatch * b.size() * ifast::size_of(dtype));
      }
    }
  }

  void run(Executor& executor, int batch) {
    std::vector<void*> pointers;
    for (auto& output : outputs_) pointers.push_back(output.data());
    call_.input = image_.data();
    call_.batch = batch;
    call_.outputs = pointers.data();
    executor.run(call_);
  }

  // Whether the first `batch` images gave the same bits.
  bool same(const Pass& other, int batch) const {
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      const std::size_t bytes = outputs_[i].size() / kBatch * batch;
      if (std::memcmp(outputs_[i].data(), other.outputs_[i].data(), bytes) != 0) return false;
    }
    return true;
  }

 private:
  std::vector<std::byte> image_;
  std::vector<std::vector<std::byte>> outputs_;
  ifast::cpu::Call call_;
};

ifast::cpu::Isa isa_of(std::string_view name) {
  for (ifast::cpu::Isa isa : ifast::cpu::available_isas()) {
    if (ifast::cpu::name_of(isa) == name) return isa;
  }
  std::fprintf(stderr, "%s cannot run here\n", name.data());
  std::exit(2);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const ifast::cpu::Isa isa = isa_of(argv[1]);
  for (int i = 2; i < argc; ++i) {
    const ifast::EngineFile engine = ifast::read_engine(argv[i]);
    const auto make = [&](int threads) {
      return Executor(engine.plan, engine.constants, {isa, threads, "", nullptr, {}});
    };
    Executor alone = make(1), two = make(2), three = make(3);
    Executor* const executors[] = {&two, &three, &alone};
    Pass truth(engine.plan, 1);
    truth.run(alone, kBatch);
    std::vector<std::thread> callers;
    for (int caller = 0; caller < kCallers; ++caller) {
      callers.emplace_back([&, caller] {
        for (int round = 0; round < kRounds; ++round) {
          const int batch = 1 + (caller + round) % kBatch;
          Pass pass(engine.plan, 1);
          pass.run(*executors[(caller + round) % 3], batch);
          if (!pass.same(truth, batch)) {
            std::fprintf(stderr, "%s: caller %d got other bits\n", argv[i], caller);
            std::exit(1);
          }
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
  }
  return 0;
}
