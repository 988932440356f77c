"""What the CUDA backend's time model knows of a GPU, as a file: ``machines/<gpu>.json``.

``{"gpu": NAME, "constants": {NAME: {"value", "unit", "source", "confirmed"}}}``. Names and units are those of
``MachineConstants`` in ``csrc/cuda/launch/machine_constants.h``, whose defaults are ``machines/nvidia-h100.json``. A
constant is confirmed where it was measured on the GPU that the file names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path

from inception_fast.errors import InputError

DEFAULT = "nvidia-h100"
"""The file that ships for the GPUs that have none of their own."""


@dataclass(frozen=True)
class Constant:
    """One constant.

    Attributes:
        value: positive, in ``unit``.
        source: how it is known: ``measured: ...``, ``published: ...``, ``data sheet``, ``calibrated: ...`` or
            ``assumed: ...``.
        confirmed: whether it was measured on this GPU.
    """

    value: float
    unit: str
    source: str
    confirmed: bool


@dataclass(frozen=True)
class Machine:
    """A GPU by name and its constants."""

    gpu: str
    constants: Mapping[str, Constant]

    def measured(self, gpu: str, values: Mapping[str, tuple[float, str]]) -> Machine:
        """The machine of a GPU on which some constants were measured; the others stay, unconfirmed.

        Args:
            values: name -> value in the constant's unit, and how it was measured.

        Raises:
            InputError: there is no constant of a name, or a value is not positive.
        """
        constants = {name: replace(constant, confirmed=False) for name, constant in self.constants.items()}
        for name, (value, source) in values.items():
            if name not in constants:
                raise InputError("values", repr(name), f"one of {', '.join(constants)}")
            if not value > 0:
                raise InputError(f"values[{name!r}]", value, "a positive number")
            constants[name] = Constant(value, constants[name].unit, f"measured: {source}", True)
        return Machine(gpu, constants)

    def to_json(self) -> str:
        """The file's text."""
        constants = {name: asdict(constant) for name, constant in self.constants.items()}
        return json.dumps({"gpu": self.gpu, "constants": constants}, indent=2) + "\n"


def read_machine(path: Path | None = None) -> Machine:
    """A file of constants; None for :data:`DEFAULT`.

    Raises:
        InputError: the file is not of this form.
        OSError: it cannot be read.
    """
    return shipped_machine() if path is None else _parse(path.read_text(), str(path))


@cache
def shipped_machine(gpu: str | None = None) -> Machine:
    """The constants that ship for a GPU, by its name as the driver gives it; those of :data:`DEFAULT` for any other."""
    words = re.sub(r"[^a-z0-9]+", "-", (gpu or "").lower()) + "-"
    files = {f.name.removesuffix(".json"): f for f in (resources.files("inception_fast.tuning") / "machines").iterdir()}
    # The longest name that the GPU's begins with: an H100 of one kind before an H100 of any.
    name = max((name for name in files if words.startswith(f"{name}-")), key=len, default=DEFAULT)
    return _parse(files[name].read_text(), name)


def _parse(text: str, name: str) -> Machine:
    try:
        record = json.loads(text)
        constants = {key: Constant(**value) for key, value in record["constants"].items()}
        return Machine(record["gpu"], constants)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError("machine", name, f"a file of machine constants ({error})") from error
