#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cpu/conv/packed_weights.h"
#include "cpu/kernels/isa.h"
#include "cpu/ops/op.h"
#include "plan/plan.h"

namespace ifast::cpu {

// A Plan as operators with packed weights.
struct Program {
  Dtype dtype = Dtype::kFloat32;
  std::vector<Buffer> buffers;  // the Plan's, then internal ones
  std::int64_t arena = 0;       // elements per image
  int input = 0;
  std::vector<int> outputs;  // buffers in the caller's memory, in order
  std::vector<std::unique_ptr<Op>> ops;
  std::vector<std::string> names;        // of each operator's step
  std::vector<std::vector<int>> stages;  // of operators
  WeightStore weights;
};

// Names for what constants hold, by the names of the constants: equal names, equal bytes.
using ConstantDigests = std::map<std::string, std::string>;

// constants are copied, or found in `pool`, where they have digests and another Program had them.
// algorithm: as choose_conv takes it. Throws EngineError where the Plan's dtype is float64.
Program build_program(const Plan& plan, const ConstantBytes& constants, Isa isa,
                      const std::string& algorithm, const ConstantDigests& digests,
                      std::shared_ptr<WeightPool> pool);

}  // namespace ifast::cpu
