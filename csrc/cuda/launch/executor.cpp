#include "cuda/launch/executor.h"

#include <algorithm>
#include <span>
#include <stdexcept>
#include <utility>

#include "cuda/launch/placement.h"

namespace ifast::cuda {
namespace {

const Drivers& drivers_of(Precision precision, Dtype dtype) {
  switch (precision) {
    case Precision::kFp32:
    case Precision::kTf32:
      if (dtype != Dtype::kFloat32) break;
      return precision == Precision::kFp32 ? kDriversFp32 : kDriversTf32;
    case Precision::kFp16:
      if (dtype != Dtype::kFloat16) break;
      return kDriversFp16;
    case Precision::kBf16:
      if (dtype != Dtype::kBFloat16) break;
      return kDriversBf16;
  }
  throw EngineError("precision: does not go with a Plan of " + std::string(name_of(dtype)));
}

// No other launch touches a launch's.
Range records_of(const Bindings& bindings, int tiles) {
  return {bindings.records, static_cast<std::size_t>(tiles) * sizeof(TileRecord), true, true};
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

}  // namespace

Precision parse_precision(const std::string& name) {
  if (name == "fp32") return Precision::kFp32;
  if (name == "tf32") return Precision::kTf32;
  if (name == "fp16") return Precision::kFp16;
  if (name == "bf16") return Precision::kBf16;
  throw EngineError("precision: got " + name + ", expected fp32, tf32, fp16 or bf16");
}

Executor::Executor(const Plan& plan, const ConstantBytes& constants, Precision precision,
                   Driver driver, int device, const LaunchOptions& options)
    : Executor(plan, precision, driver, device, options,
               build_program(plan, constants, precision, driver, limits_of(device), options)) {}

Executor::Executor(const Plan& plan, Precision precision, Driver driver, int device,
                   const LaunchOptions& options, Program program)
    : program_(std::move(program)),
      buffers_(plan.buffers),
      input_(plan.input()),
      element_size_(size_of(plan.dtype)),
      drivers_(drivers_of(precision, plan.dtype)),
      driver_(driver),
      device_(device),
      options_(options),
      overlap_(options.overlap && limits_of(device).overlap),
      constants_(program_.constants, device),
      steps_(bytes_of(program_.steps), device),
      schedule_(driver == Driver::kNetwork ? schedule_network(program_) : NetworkSchedule{}),
      dependencies_(bytes_of(schedule_.dependencies), device) {}

Executor::NetworkTable::NetworkTable(const std::vector<NetworkStep>& steps, int device)
    : table(bytes_of(steps), device), end(steps.back()) {}

// Launches follow each other and share them; in the network driver all steps may be at work.
int Executor::partials(int batch) const {
  if (driver_ == Driver::kNetwork)
    return place_tiles(program_, schedule_, batch).back().first_partial;
  int most = 0;
  for (const StageLaunch& launch : program_.launches) {
    most = std::max(most, place_blocks(program_, launch, batch).partials);
  }
  return most;
}

// Of the groups of tiles, and of those that are finished.
int Executor::tile_counters(int batch) const {
  if (driver_ != Driver::kNetwork) return 0;
  return place_tiles(program_, schedule_, batch).back().first_counter + 1;
}

int Executor::tiles(int batch) const {
  if (driver_ == Driver::kNetwork) return place_tiles(program_, schedule_, batch).back().first_tile;
  int tiles = 0;
  for (const StageLaunch& launch : program_.launches) {
    tiles += place_blocks(program_, launch, batch).first_block.back();
  }
  return tiles;
}

std::size_t Executor::counter_bytes(int batch) const {
  return static_cast<std::size_t>(tile_counters(batch) + partials(batch)) * sizeof(unsigned);
}

std::size_t Executor::activation_bytes(int batch) const {
  const std::size_t bytes = static_cast<std::size_t>(program_.arena) * batch * element_size_;
  return (bytes + kVectorBytes - 1) / kVectorBytes * kVectorBytes;
}

std::size_t Executor::arena_bytes(int batch) const {
  return activation_bytes(batch) + static_cast<std::size_t>(partials(batch)) * kPartialBytes;
}

std::vector<std::vector<std::string>> Executor::launches() const {
  std::vector<std::vector<std::string>> result;
  for (const StageLaunch& launch : program_.launches) {
    const auto first = program_.names.begin() + launch.first_step;
    result.emplace_back(first, first + launch.count);
  }
  return result;
}

std::vector<std::pair<std::string, int>> Executor::tile_shapes(int batch) const {
  std::vector<std::pair<std::string, int>> result;
  for (const StageLaunch& launch : program_.launches) {
    const Placement placement = place_blocks(program_, launch, batch);
    for (int i = 0; i < launch.count; ++i) {
      const int index = launch.first_step + i;
      if (program_.steps[index].kind != Kind::kConv) continue;
      result.emplace_back(program_.names[index], placement.cuts[i].shape);
    }
  }
  return result;
}

Bindings Executor::bindings_of(const Call& call) const {
  Bindings bindings{};
  bindings.bases[kArenaBase] = static_cast<std::byte*>(call.arena);
  // Nothing writes to the input.
  bindings.bases[kInputBase] = static_cast<std::byte*>(const_cast<void*>(call.input));
  for (std::size_t i = 0; i < call.outputs.size(); ++i) {
    bindings.bases[kInputBase + 1 + i] = static_cast<std::byte*>(call.outputs[i]);
  }
  const Buffer& input = buffers_[input_];
  const auto& [n, c, h, w] = call.input_strides;
  // The stride of an axis of one element may be anything, and must not spoil the alignment.
  bindings.input_strides[0] = call.batch == 1 ? 0 : n;
  bindings.input_strides[1] = input.height == 1 ? 0 : h;
  bindings.input_strides[2] = input.width == 1 ? 0 : w;
  bindings.input_strides[3] = input.channels == 1 ? 1 : c;
  bindings.batch = call.batch;
  bindings.partials = static_cast<std::byte*>(call.arena) + activation_bytes(call.batch);
  bindings.arrivals = static_cast<unsigned*>(call.counters) + tile_counters(call.batch);
  bindings.records = call.records;
  return bindings;
}

std::vector<Range> Executor::memory_of(const Call& call) const {
  std::vector<Range> memory{{call.arena, arena_bytes(call.batch), true},
                            {call.counters, counter_bytes(call.batch), true},
                            {constants_.data(), constants_.size(), false, true},
                            {steps_.data(), steps_.size(), false, true}};
  for (std::size_t i = 0; i < call.outputs.size(); ++i) {
    const auto size = static_cast<std::size_t>(buffers_[program_.outputs[i]].size());
    memory.push_back({call.outputs[i], size * call.batch * element_size_, true});
  }
  // From the first to the last element that the strides reach.
  const Buffer& input = buffers_[input_];
  const std::array<int, 4> extents{call.batch, input.channels, input.height, input.width};
  std::int64_t first = 0, last = 0;
  for (int i = 0; i < 4; ++i) {
    const std::int64_t reach = call.input_strides[i] * (extents[i] - 1);
    (reach < 0 ? first : last) += reach;
  }
  const auto size = static_cast<std::int64_t>(input.dtype ? 1 : element_size_);
  memory.push_back({static_cast<const std::byte*>(call.input) + first * size,
                    static_cast<std::size_t>((last - first + 1) * size), false});
  return memory;
}

void Executor::check_alignment(const Call& call) const {
  for (int base : program_.aligned) {
    const void* address = base == kArenaBase ? call.arena : call.outputs[base - kInputBase - 1];
    if (reinterpret_cast<std::uintptr_t>(address) % kVectorBytes == 0) continue;
    const std::string name =
        base == kArenaBase ? "arena" : "outputs[" + std::to_string(base - kInputBase - 1) + "]";
    throw std::invalid_argument(name + ": got an address that is not a multiple of " +
                                std::to_string(kVectorBytes) + " bytes, which steps read it in");
  }
}

void Executor::run(const Call& call) {
  check_alignment(call);
  const DeviceScope scope(device_);
  if (driver_ == Driver::kNetwork) {
    run_network(call);
  } else {
    run_stages(call);
  }
}

void Executor::run_stages(const Call& call) const {
  std::vector<Range> memory = memory_of(call);
  StageArguments arguments{};
  arguments.bindings = bindings_of(call);
  arguments.constants = constants_.data();
  arguments.trigger = options_.trigger;
  for (const StageLaunch& launch : program_.launches) {
    const int begin = launch.first_step;
    arguments.steps = reinterpret_cast<const Step*>(steps_.data()) + begin;
    arguments.first_step = begin;
    arguments.count = launch.count;
    const Placement placement = place_blocks(program_, launch, call.batch);
    std::ranges::copy(placement.first_block, arguments.first_tile);
    std::ranges::copy(placement.first_partial, arguments.first_partial);
    std::ranges::copy(placement.cuts, arguments.cuts);
    const int tiles = placement.first_block.back();
    if (call.records != nullptr) memory.push_back(records_of(arguments.bindings, tiles));
    const int cluster = 1 << launch.cluster_log2;
    Grid grid{divide_up(tiles, cluster) * cluster, kThreads,
              std::max(launch.shared_bytes, placement.shared_bytes), cluster};
    grid.overlaps = overlap_;
    // Pairs come first.
    const bool pairs = program_.steps[begin].kind == Kind::kPair;
    const auto enqueue = pairs                  ? drivers_.pair
                         : placement.throughput ? drivers_.throughput
                                                : drivers_.stage;
    enqueue(arguments, grid, call.stream, memory);
    if (call.records != nullptr) {
      memory.pop_back();
      arguments.bindings.records += tiles;
    }
  }
}

const Executor::NetworkTable& Executor::table_of(int batch) {
  const std::lock_guard lock(mutex_);
  const auto found = tables_.find(batch);
  if (found != tables_.end()) return found->second;
  return tables_.try_emplace(batch, place_tiles(program_, schedule_, batch), device_).first->second;
}

void Executor::run_network(const Call& call) {
  const NetworkTable& placement = table_of(call.batch);
  NetworkArguments arguments{};
  arguments.bindings = bindings_of(call);
  arguments.steps = reinterpret_cast<const Step*>(steps_.data());
  arguments.constants = constants_.data();
  arguments.schedule = reinterpret_cast<const NetworkStep*>(placement.table.data());
  arguments.dependencies = reinterpret_cast<const Dependency*>(dependencies_.data());
  arguments.counters = static_cast<unsigned*>(call.counters);
  arguments.counter_count = placement.end.first_counter;
  arguments.tiles = placement.end.first_tile;
  std::vector<Range> memory = memory_of(call);
  memory.push_back({placement.table.data(), placement.table.size(), false, true});
  memory.push_back({dependencies_.data(), dependencies_.size(), false, true});
  if (call.records != nullptr) memory.push_back(records_of(arguments.bindings, arguments.tiles));
  drivers_.network(arguments, options_.blocks, call.stream, memory);
}

}  // namespace ifast::cuda
