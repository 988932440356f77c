"""From a float32 Plan and representative images to a quantised Plan; ``docs/int8.md`` says what it computes."""

from inception_fast.quantization.calibration import Calibration, calibrate
from inception_fast.quantization.quantize import quantize

__all__ = ["Calibration", "calibrate", "quantize"]
