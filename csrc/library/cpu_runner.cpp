#include <algorithm>

#include "cpu/base/thread_pool.h"
#include "cpu/runtime/executor.h"
#include "library/runner.h"

namespace ifast {
namespace {

class CpuRunner final : public Runner {
 public:
  CpuRunner(const EngineFile& engine, int threads)
      : dense_(engine),
        executor_(engine.plan, engine.constants,
                  {cpu::available_isas().back(), threads, /*algorithm=*/""}) {}

  void run(const void* input, int batch, std::span<void* const> outputs) override {
    executor_.run(
        {input, {dense_.image, dense_.row, dense_.column, dense_.channel}, batch, outputs.data()});
  }

 private:
  const Dense dense_;
  cpu::Executor executor_;
};

}  // namespace

std::unique_ptr<Runner> make_cpu_runner(const EngineFile& engine, int threads) {
  const int usable = cpu::usable_processors();
  return std::make_unique<CpuRunner>(engine, threads == 0 ? usable : std::min(threads, usable));
}

}  // namespace ifast
