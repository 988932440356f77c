#include "cpu/ops/element_ops.h"

#include "cpu/ops/pixels.h"

namespace ifast::cpu {

Tiling QuantizeOp::tile(int batch, int threads) const {
  return tile_pixels(target_.view, batch, threads);
}

void QuantizeOp::run(const Bindings& bindings, const Tiling& tiling, int task, Scratch&) const {
  const View& out = target_.view;
  const Range pixels = pixels_of(out, bindings, tiling, task);
  for (int p = pixels.begin; p < pixels.end; ++p) {
    const Pixel at = pixel_at(out, p);
    const auto* source = reinterpret_cast<const float*>(bindings.at(source_, at.n, at.y, at.x));
    kernels_.quantize(source, bindings.strides[source_.buffer].channel,
                      bindings.at(out, at.n, at.y, at.x), out.channels, out.scale, out.zero,
                      target_.relu);
  }
}

Tiling DequantizeOp::tile(int batch, int threads) const {
  return tile_pixels(target_, batch, threads);
}

void DequantizeOp::run(const Bindings& bindings, const Tiling& tiling, int task, Scratch&) const {
  const Range pixels = pixels_of(target_, bindings, tiling, task);
  for (int p = pixels.begin; p < pixels.end; ++p) {
    const Pixel at = pixel_at(target_, p);
    kernels_.dequantize(bindings.at(source_, at.n, at.y, at.x),
                        reinterpret_cast<float*>(bindings.at(target_, at.n, at.y, at.x)),
                        target_.channels, source_.scale, source_.zero);
  }
}

}  // namespace ifast::cpu
