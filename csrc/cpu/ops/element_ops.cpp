#include "cpu/ops/element_ops.h"

#include "cpu/ops/pixels.h"

namespace ifast::cpu {

Tiling QuantizeOp::tile(int batch, int threads) const {
  return tile_pixels(target_.view, batch, threads);
}

void QuantizeOp::run(const Frame& frame, const Tiling& tiling, int task, Scratch&) const {
  const View& out = target_.view;
  const Range pixels = pixels_of(out, frame, tiling, task);
  for (int p = pixels.begin; p < pixels.end; ++p) {
    const Pixel at = pixel_at(out, p);
    const auto* source = reinterpret_cast<const float*>(frame.at(source_, at.n, at.y, at.x));
    kernels_.quantize(source, frame.strides[source_.buffer].channel,
                      frame.at(out, at.n, at.y, at.x), out.channels, out.scale, out.zero,
                      target_.relu);
  }
}

Tiling DequantizeOp::tile(int batch, int threads) const {
  return tile_pixels(target_, batch, threads);
}

void DequantizeOp::run(const Frame& frame, const Tiling& tiling, int task, Scratch&) const {
  const Range pixels = pixels_of(target_, frame, tiling, task);
  for (int p = pixels.begin; p < pixels.end; ++p) {
    const Pixel at = pixel_at(target_, p);
    kernels_.dequantize(frame.at(source_, at.n, at.y, at.x),
                        reinterpret_cast<float*>(frame.at(target_, at.n, at.y, at.x)),
                        target_.channels, source_.scale, source_.zero);
  }
}

}  // namespace ifast::cpu
