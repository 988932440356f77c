#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

// What every benchmark needs on the host: checked calls, memory, and rows of results as JSON lines.
namespace ifast::micro {

// A benchmark cannot go on; the message is for its error row.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void check(cudaError_t status, const char* call) {
  if (status != cudaSuccess) {
    throw Failure(std::string(call) + ": " + cudaGetErrorName(status) + ": " +
                  cudaGetErrorString(status));
  }
}
#define MICRO_CHECK(call) ::ifast::micro::check((call), #call)

// After `<<<>>>`: errors of the launch, then those of the kernel.
inline void finish(const char* kernel) {
  check(cudaGetLastError(), kernel);
  check(cudaDeviceSynchronize(), kernel);
}

struct Device {
  cudaDeviceProp properties;
  int multiprocessors() const { return properties.multiProcessorCount; }
};

// Device memory, zeroed.
template <class T>
class Buffer {
 public:
  explicit Buffer(std::size_t count) : count_(count) {
    MICRO_CHECK(cudaMalloc(&data_, count * sizeof(T)));
    clear();
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { cudaFree(data_); }

  T* get() const { return data_; }
  std::size_t bytes() const { return count_ * sizeof(T); }
  void clear() {
    MICRO_CHECK(cudaMemset(data_, 0, bytes()));
    // Streams of ours do not wait for the default one.
    MICRO_CHECK(cudaStreamSynchronize(nullptr));
  }
  void write(std::span<const T> values) {
    MICRO_CHECK(cudaMemcpy(data_, values.data(), values.size_bytes(), cudaMemcpyHostToDevice));
  }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    MICRO_CHECK(cudaMemcpy(values.data(), data_, bytes(), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T* data_ = nullptr;
  std::size_t count_;
};

class Event {
 public:
  Event() { MICRO_CHECK(cudaEventCreate(&event_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { cudaEventDestroy(event_); }
  void record(cudaStream_t stream) { MICRO_CHECK(cudaEventRecord(event_, stream)); }
  // Whether the stream has not come to it yet.
  bool pending() const {
    const cudaError_t status = cudaEventQuery(event_);
    if (status != cudaErrorNotReady) check(status, "cudaEventQuery");
    // What a query answers stays behind as an error.
    if (status == cudaErrorNotReady) cudaGetLastError();
    return status == cudaErrorNotReady;
  }
  // Waits for both.
  double microseconds_since(const Event& begin) const {
    MICRO_CHECK(cudaEventSynchronize(event_));
    float milliseconds = 0;
    MICRO_CHECK(cudaEventElapsedTime(&milliseconds, begin.event_, event_));
    return 1e3 * milliseconds;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

// Of a block, on its multiprocessor: `nanoseconds` by globaltimer, whose steps may be a
// microsecond.
struct Span {
  long long cycles;
  long long nanoseconds;
};

using Value = std::variant<long long, double, std::string>;
using Case = std::initializer_list<std::pair<const char*, Value>>;

inline constexpr int kRepeats = 7;

inline std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return result + "\"";
}

inline std::string json(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return quoted(*text);
  char digits[40];
  if (const auto* whole = std::get_if<long long>(&value)) {
    std::snprintf(digits, sizeof digits, "%lld", *whole);
  } else {
    std::snprintf(digits, sizeof digits, "%.6g", std::get<double>(value));
  }
  return digits;
}

inline std::string json(Case fields) {
  std::string result = "{";
  for (const auto& [name, value] : fields) {
    result += (result.size() > 1 ? ", " : "") + quoted(name) + ": " + json(value);
  }
  return result + "}";
}

// A line at once: whatever stops the process later, the row is out.
inline void print_line(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

inline double median(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const std::size_t middle = samples.size() / 2;
  return samples.size() % 2 ? samples[middle] : 0.5 * (samples[middle - 1] + samples[middle]);
}

// One row: the middle and the ends of the repeats.
inline void report(const char* benchmark, Case parameters, const char* unit,
                   const std::vector<double>& samples) {
  if (samples.empty()) throw Failure("no samples");
  const auto [low, high] = std::minmax_element(samples.begin(), samples.end());
  print_line("{\"benchmark\": " + quoted(benchmark) + ", \"case\": " + json(parameters) +
             ", \"unit\": " + quoted(unit) + ", \"median\": " + json(median(samples)) +
             ", \"low\": " + json(*low) + ", \"high\": " + json(*high) +
             ", \"repeats\": " + json(static_cast<long long>(samples.size())) + "}");
}

// Calls `sample` kRepeats times after one call that does not count.
template <class Sample>
std::vector<double> repeat(Sample sample) {
  sample();
  std::vector<double> samples;
  for (int i = 0; i < kRepeats; ++i) samples.push_back(sample());
  return samples;
}

}  // namespace ifast::micro
