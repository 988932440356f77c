#pragma once

#include <string_view>
#include <vector>

namespace ifast::cpu {

enum class Isa { kPortable, kAvx2, kAvx512 };

std::string_view name_of(Isa isa);

// What was built and runs on this processor, slowest first.
std::vector<Isa> available_isas();

// Whether vdpbf16ps was built and runs here.
bool has_bf16_dot();

// Whether vpdpbusd was built and runs here, on whole vectors.
bool has_int8_dot();

}  // namespace ifast::cpu
