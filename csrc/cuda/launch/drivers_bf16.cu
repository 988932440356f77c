#include "cuda/launch/drivers.cuh"

namespace ifast::cuda {
const Drivers kDriversBf16 = kDriversOf<Bf16>;
}
