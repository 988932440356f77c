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

struct Links {
  bool programmatic;
  int blocks, cluster, cycles;
};

// `count` kernels, launched as csrc/cuda/ptx/launch.cuh does and captured as PyTorch captures them.
class Chain {
 public:
  template <class Kernel>
  Chain(const Stream& stream, Kernel kernel, const Links& links, int count, unsigned* data)
      : stream_(stream), count_(count) {
    const std::size_t half = static_cast<std::size_t>(links.blocks) * kLinkThreads;
    cudaLaunchAttribute attributes[2] = {};
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(links.blocks);
    config.blockDim = dim3(kLinkThreads);
    config.stream = stream.get();
    config.attrs = attributes;
    if (links.programmatic) {
      cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
      attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
      attribute.val.programmaticStreamSerializationAllowed = 1;
    }
    if (links.cluster > 1) {
      cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
      attribute.id = cudaLaunchAttributeClusterDimension;
      attribute.val.clusterDim = {static_cast<unsigned>(links.cluster), 1, 1};
    }
    // Loads the kernel, which a capture might not allow.
    cudaFuncAttributes loaded;
    MICRO_CHECK(cudaFuncGetAttributes(&loaded, kernel));
    MICRO_CHECK(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal));
    cudaError_t launched = cudaSuccess;
    for (int i = 0; i < count && launched == cudaSuccess; ++i) {
      launched =
          cudaLaunchKernelEx(&config, kernel, static_cast<const unsigned*>(data + i % 2 * half),
                             data + (i + 1) % 2 * half, links.cycles);
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

  // Of the device alone: it begins when the host has enqueued everything.
  double microseconds() {
    constexpr long long kShortest = 1'000'000, kLongest = 64'000'000;
    for (long long held = kShortest; held <= kLongest; held *= 4) {
      Event begin, end;
      hold<<<1, 1, 0, stream_.get()>>>(held);
      MICRO_CHECK(cudaGetLastError());
      begin.record(stream_.get());
      MICRO_CHECK(cudaGraphLaunch(executable_, stream_.get()));
      end.record(stream_.get());
      const bool was_held = begin.pending();
      ++runs_;
      const double taken = end.microseconds_since(begin);
      if (was_held) return taken;
    }
    throw Failure("the host took longer than " + std::to_string(kLongest / 1'000'000) +
                  " ms to enqueue a graph");
  }

  unsigned kernels_run() const { return runs_ * static_cast<unsigned>(count_); }

  struct Edges {
    int all, programmatic;
  };

  // Programmatic ones let a kernel begin before the one before has ended.
  Edges edges() const {
    std::size_t count = count_;
    std::vector<cudaGraphNode_t> from(count), to(count);
    std::vector<cudaGraphEdgeData> data(count);
#if CUDART_VERSION >= 13000
    MICRO_CHECK(cudaGraphGetEdges(graph_, from.data(), to.data(), data.data(), &count));
#else
    MICRO_CHECK(cudaGraphGetEdges_v2(graph_, from.data(), to.data(), data.data(), &count));
#endif
    const auto programmatic =
        std::count_if(data.begin(), data.begin() + count, [](const cudaGraphEdgeData& edge) {
          return edge.type == cudaGraphDependencyTypeProgrammatic;
        });
    return {static_cast<int>(count), static_cast<int>(programmatic)};
  }

 private:
  const Stream& stream_;
  std::size_t count_;
  unsigned runs_ = 0;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

template <Trigger kTrigger>
void launch_row(const Stream& stream, const char* trigger, const Links& links) {
  constexpr int kLong = 100, kShort = 20;
  Buffer<unsigned> data(2 * static_cast<std::size_t>(links.blocks) * kLinkThreads);
  Chain chain(stream, chain_link<kTrigger>, links, kLong, data.get());
  Chain part(stream, chain_link<kTrigger>, links, kShort, data.get());
  // The difference, so that the cost of a graph's start is not in it.
  const auto each =
      repeat([&] { return (chain.microseconds() - part.microseconds()) / (kLong - kShort); });
  // Each kernel has added one to what the one before left.
  const std::vector<unsigned> found = data.read();
  const unsigned expected = chain.kernels_run() + part.kernels_run();
  const auto complete = [&](unsigned sum) { return sum == expected; };
  if (!std::all_of(found.begin(), found.begin() + found.size() / 2, complete)) {
    throw Failure("chain_link: a kernel did not see what the one before wrote");
  }
  report("launch",
         {{"trigger", trigger},
          {"blocks", links.blocks},
          {"cluster", links.cluster},
          {"spin_cycles", links.cycles}},
         "us/kernel", each);
  if (links.cycles > 0) return;
  const Chain::Edges edges = chain.edges();
  report("launch_edges",
         {{"trigger", trigger},
          {"blocks", links.blocks},
          {"cluster", links.cluster},
          {"edges", edges.all}},
         "programmatic edges", {static_cast<double>(edges.programmatic)});
}

template <Trigger kTrigger>
void launch_rows(const Stream& stream, const char* trigger) {
  constexpr bool kProgrammatic = kTrigger != Trigger::kNone;
  for (const auto [blocks, cluster] : {std::pair{1, 1}, {60, 1}, {528, 1}, {528, 8}}) {
    for (const int cycles : {0, 2000}) {
      launch_row<kTrigger>(stream, trigger, {kProgrammatic, blocks, cluster, cycles});
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
