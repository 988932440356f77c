#include "cuda/launch/drivers.cuh"

namespace ifast::cuda {
const Drivers kDriversFp32 = kDriversOf<Fp32>;
}
