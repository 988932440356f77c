#pragma once

#include "cpu/isa.h"

namespace ifast::cpu {

// Float32 operations a second of a loop that does nothing but multiply and add in registers: the
// best of several runs that take about `seconds` together.
double peak_flops(Isa isa, double seconds);

}  // namespace ifast::cpu
