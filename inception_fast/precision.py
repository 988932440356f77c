"""The precisions that a caller may ask for."""

from __future__ import annotations

from inception_fast.errors import InputError
from inception_fast.plan.engine_file import PRECISIONS
from inception_fast.plan.plan import QUANTIZED

PUBLIC_PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8")


def check_precision(precision: str, *, calibrating: bool = True) -> None:
    """Refuses a name that is no precision.

    Args:
        calibrating: whether there are images that ``int8`` could be calibrated on.
    """
    names = [name for name in PUBLIC_PRECISIONS if calibrating or PRECISIONS[name] != QUANTIZED]
    if precision not in names:
        expected = f"one of {', '.join(map(repr, names))}"
        if precision in PUBLIC_PRECISIONS:
            expected += (
                ": it is calibrated on images, and there are none where a new size or new weights call for another "
                "engine; optimize(model, images, precision='int8') does that"
            )
        raise InputError("precision", repr(precision), expected)
