#include "cuda/launch/drivers.cuh"

namespace ifast::cuda {
const Drivers kDriversFp16 = kDriversOf<Fp16>;
}
