#pragma once

#include <vector>

#include "cuda/launch/program.h"
#include "cuda/launch/time_model.h"

// A Program as the time model sees it.
namespace ifast::cuda {

// A convolution in tiles of `shape`; `spread` where each of its segments has a block.
StepWork convolution_work(const Step& step, const TileShape& shape, int batch, bool spread,
                          Precision precision);

// The work of each launch at a batch size. Throws std::invalid_argument as place_blocks does.
std::vector<LaunchWork> work_of(const Program& program, int batch, Precision precision);

// How the launches of a driver follow each other on a device that can overlap them.
Conditions conditions_of(const Program& program, int batch, Precision precision, Driver driver);

}  // namespace ifast::cuda
