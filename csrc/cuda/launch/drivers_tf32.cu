#include "cuda/launch/drivers.cuh"

namespace ifast::cuda {
const Drivers kDriversTf32 = kDriversOf<Tf32>;
}
