#pragma once

#include <string>

#include "micro/device.cuh"
#include "ptx/sync.cuh"

// Kernels one after the other in a CUDA graph: plain edges, and programmatic dependent launch.
namespace ifast::micro {

enum class Trigger { kNone, kEarly, kLate };

inline constexpr int kLinkThreads = 128;

// A short kernel that reads what the one before wrote, and spins for `cycles` besides.
template <Trigger kTrigger>
__global__ void __launch_bounds__(kLinkThreads)
    chain_link(const unsigned* from, unsigned* to, int cycles) {
  if constexpr (kTrigger == Trigger::kEarly) ptx::launch_dependents();
  if constexpr (kTrigger != Trigger::kNone) ptx::wait_for_earlier_launches();
  const unsigned i = blockIdx.x * kLinkThreads + threadIdx.x;
  unsigned value;
  asm volatile("ld.global.u32 %0, [%1];" : "=r"(value) : "l"(from + i) : "memory");
  for (const long long begin = cycle_count(); cycle_count() - begin < cycles;) {
  }
  asm volatile("st.global.u32 [%0], %1;" ::"l"(to + i), "r"(value + 1) : "memory");
  if constexpr (kTrigger == Trigger::kLate) ptx::launch_dependents();
}

// Keeps the device busy while the host puts work behind it.
__global__ void hold(long long nanoseconds) {
  for (const long long begin = global_nanoseconds(); global_nanoseconds() - begin < nanoseconds;) {
  }
}

class Stream {
 public:
  Stream() { MICRO_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(stream_); }
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// `links` kernels, captured as PyTorch captures ours.
class Chain {
 public:
  template <class Kernel>
  Chain(const Stream& stream, Kernel kernel, bool programmatic, int links, int blocks, int cycles,
        unsigned* data)
      : stream_(stream), links_(links) {
    const std::size_t half = static_cast<std::size_t>(blocks) * kLinkThreads;
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(blocks);
    config.blockDim = dim3(kLinkThreads);
    config.stream = stream.get();
    config.attrs = &attribute;
    config.numAttrs = programmatic ? 1 : 0;
    // Loads the kernel, which a capture might not allow.
    cudaFuncAttributes attributes;
    MICRO_CHECK(cudaFuncGetAttributes(&attributes, kernel));
    MICRO_CHECK(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal));
    cudaError_t launched = cudaSuccess;
    for (int i = 0; i < links && launched == cudaSuccess; ++i) {
      launched =
          cudaLaunchKernelEx(&config, kernel, static_cast<const unsigned*>(data + i % 2 * half),
                             data + (i + 1) % 2 * half, cycles);
    }
    // Ends the capture also where a launch has failed, or the stream could not be used again.
    const cudaError_t ended = cudaStreamEndCapture(stream.get(), &graph_);
    check(launched, "cudaLaunchKernelEx in a capture");
    check(ended, "cudaStreamEndCapture");
    MICRO_CHECK(cudaGraphInstantiate(&executable_, graph_, 0));
    MICRO_CHECK(cudaGraphUpload(executable_, stream.get()));
    MICRO_CHECK(cudaStreamSynchronize(stream.get()));
  }
  Chain(const Chain&) = delete;
  Chain& operator=(const Chain&) = delete;
  ~Chain() {
    if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
    if (graph_ != nullptr) cudaGraphDestroy(graph_);
  }

  double microseconds() const {
    Event begin, end;
    hold<<<1, 1, 0, stream_.get()>>>(100'000);
    MICRO_CHECK(cudaGetLastError());
    begin.record(stream_.get());
    MICRO_CHECK(cudaGraphLaunch(executable_, stream_.get()));
    end.record(stream_.get());
    return end.microseconds_since(begin);
  }

  // Edges that let the next kernel begin before the one before has ended.
  int programmatic_edges() const {
    std::size_t count = links_;
    std::vector<cudaGraphNode_t> from(count), to(count);
    std::vector<cudaGraphEdgeData> data(count);
#if CUDART_VERSION >= 13000
    MICRO_CHECK(cudaGraphGetEdges(graph_, from.data(), to.data(), data.data(), &count));
#else
    MICRO_CHECK(cudaGraphGetEdges_v2(graph_, from.data(), to.data(), data.data(), &count));
#endif
    return static_cast<int>(std::count_if(data.begin(), data.begin() + count, [](const auto& edge) {
      return edge.type == cudaGraphDependencyTypeProgrammatic;
    }));
  }

 private:
  const Stream& stream_;
  std::size_t links_;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

template <Trigger kTrigger>
void launch_rows(const Stream& stream, const char* trigger) {
  constexpr int kLong = 100, kShort = 20;
  for (const int blocks : {1, 60, 528}) {
    for (const int cycles : {0, 2000}) {
      Buffer<unsigned> data(2 * static_cast<std::size_t>(blocks) * kLinkThreads);
      const auto make = [&](int links) {
        return Chain(stream, chain_link<kTrigger>, kTrigger != Trigger::kNone, links, blocks,
                     cycles, data.get());
      };
      const Chain chain = make(kLong), part = make(kShort);
      // The difference, so that the cost of a graph's start is not in it.
      const auto each =
          repeat([&] { return (chain.microseconds() - part.microseconds()) / (kLong - kShort); });
      // Each kernel has added one to what the one before left.
      const std::vector<unsigned> found = data.read();
      const auto complete = [](unsigned sum) { return sum == (kRepeats + 1) * (kLong + kShort); };
      if (!std::all_of(found.begin(), found.begin() + found.size() / 2, complete)) {
        throw Failure("chain_link: a kernel did not see what the one before wrote");
      }
      report("launch", {{"trigger", trigger}, {"blocks", blocks}, {"spin_cycles", cycles}},
             "us/kernel", each);
      report("launch_edges", {{"trigger", trigger}, {"blocks", blocks}, {"spin_cycles", cycles}},
             "programmatic edges", {static_cast<double>(chain.programmatic_edges())});
    }
  }
}

inline void launch(const Device&) {
  const Stream stream;
  launch_rows<Trigger::kNone>(stream, "none");
  launch_rows<Trigger::kEarly>(stream, "early");
  launch_rows<Trigger::kLate>(stream, "late");
}

}  // namespace ifast::micro
