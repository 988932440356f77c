#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cpu/runtime/network_memory.h"
#include "cpu/runtime/program.h"

namespace ifast::cpu {

struct Options {
  Isa isa = available_isas().back();
  int threads = 1;
  // For every convolution that it can compute, in place of the one that a model of cost picks;
  // "direct" can compute all of them.
  std::string algorithm;
  // Shared with other executors; one of its own where there is none. Convolutions whose constants
  // have digests share their packed weights.
  std::shared_ptr<NetworkMemory> memory;
  ConstantDigests digests;
};

// One forward pass.
struct Call {
  // Of the Plan's dtype, or float32 where that is uint8, as the outputs; or bytes as the Plan says.
  const void* input = nullptr;
  Strides strides;  // of the input
  int batch = 1;
  // NHWC memory for `batch` images for each of the Plan's output buffers, in order.
  void* const* outputs = nullptr;
};

// An operator, and where asked for, what it took in one call.
struct OpReport {
  std::string step;
  std::string algorithm;
  int stage = 0;
  double seconds = 0;  // summed over threads
};

// A Plan made ready to run. run() may be called from several threads at once; calls that need
// worker threads take turns. The same image gives the same bits, whatever the batch around it and
// the number of threads.
class Executor {
 public:
  // constants are copied, or shared in their packed form. Throws EngineError where the Plan's dtype
  // is float64.
  Executor(const Plan& plan, const ConstantBytes& constants, const Options& options);
  ~Executor();

  // reports, where given, becomes report() with times.
  void run(const Call& call, std::vector<OpReport>* reports = nullptr);

  // Every operator in order of execution, without times.
  std::vector<OpReport> report() const;
  int threads() const { return threads_; }
  // Those that other executors use besides among them, and those that extreme tiles have asked for
  // up to now.
  std::vector<std::shared_ptr<const PackedWeights>> weights() const;
  // Of activations and scratch that calls which have ended left for the next ones, of executors
  // that share this one's memory too.
  std::size_t working_bytes() const { return memory_->working_bytes(); }

 private:
  class Context;

  std::unique_ptr<Context> take_context();
  void give_back(std::unique_ptr<Context> context);

  const std::shared_ptr<NetworkMemory> memory_;
  const Program program_;
  const int threads_;
  // One for each call that ran at the same time as others.
  std::vector<std::unique_ptr<Context>> idle_;
};

}  // namespace ifast::cpu
