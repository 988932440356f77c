"""Tables of chosen configurations: those measured on this machine, in the user's cache, and those shipped.

A file is JSON: ``{"gpu", "driver", "triton", "measured", "entries": {key: [m, n, k, warps, stages, splits]}}``, keys
being :attr:`ConvProblem.key` or, for convolutions that share a launch, :func:`group_key`; ``null`` says that they are
faster one by one. Five numbers are a configuration without splits, as in older tables. Shape and dtype are in the key;
GPU, driver and Triton version are in the file's name. A file may have ``"passes": {precision: {batch: {backend:
seconds}}}`` before its entries.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from importlib import metadata, resources
from pathlib import Path

from inception_fast.errors import InputError
from inception_fast.tuning.problem import ConvConfig

Passes = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Seconds by precision, batch size and backend."""

MOST_K = 128
"""Rows of packed weights are filled up with zeros to a multiple of it; a longer step would read the next row."""


MOST_WIDTHS = 3
"""Powers of two that a tile's width is the sum of: each is a product of its own in the loop."""

MOST_SPLITS = 64


@dataclass(frozen=True)
class Machine:
    """What a measurement holds for: the GPU's name, the driver's version and Triton's."""

    gpu: str
    driver: str
    triton: str

    @staticmethod
    def of(gpu: str, driver: str | None) -> Machine:
        return Machine(gpu, driver or "unknown", metadata.version("triton"))


@dataclass(frozen=True)
class Table:
    """Configurations by problem.

    Attributes:
        measured: false where the rule was asked and no GPU.
        passes: seconds of whole forward passes; see :mod:`inception_fast.tuning.passes`.
    """

    machine: Machine
    measured: bool
    entries: Mapping[str, ConvConfig | None] = field(default_factory=dict)
    passes: Passes = field(default_factory=dict)


def cache_folder() -> Path:
    """``$INCEPTION_FAST_CACHE``, else ``inception_fast`` in the user's cache folder."""
    named = os.environ.get("INCEPTION_FAST_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inception_fast"


def table_path(machine: Machine) -> Path:
    """The file of a machine's measurements."""
    name = f"{machine.gpu}-driver-{machine.driver}-triton-{machine.triton}"
    return cache_folder() / "tuning" / f"{slug(name)}.json"


def read_table(path: Path) -> Table | None:
    """The table in a file; None where there is no file.

    Raises:
        InputError: the file is no such table.
    """
    try:
        return _parse(path.read_text())
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"tuning table {path}", f"{type(error).__name__}: {error}", "a table; delete it") from error


def write_table(path: Path, table: Table) -> None:
    """Replaces the file at once, so that a reader sees the old table or the new one. Equal tables give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = {key: config and list(astuple(config)) for key, config in table.entries.items()}
    entries = [f"    {json.dumps(key)}: {json.dumps(numbers[key])}" for key in sorted(numbers)]
    head: dict[str, object] = {**vars(table.machine), "measured": table.measured}
    if table.passes:
        head["passes"] = table.passes
    lines = [*(f"  {json.dumps(k)}: {json.dumps(v)}," for k, v in head.items()), '  "entries": {', ",\n".join(entries)]
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write("\n".join(["{", *lines, "  }", "}", ""]))
    os.replace(file.name, path)


def shipped_table(gpu: str) -> Table | None:
    """The table that comes with the package for a GPU of that name, if any."""
    file = resources.files("inception_fast.tuning") / "tables" / f"{slug(gpu)}.json"
    return _parse(file.read_text()) if file.is_file() else None


def _parse(text: str) -> Table:
    content = json.loads(text)
    entries: dict[str, ConvConfig | None] = {}
    for key, numbers in content["entries"].items():
        if numbers is None:
            entries[key] = None
            continue
        if not _is_config(numbers):
            raise ValueError(f"{key!r} has the configuration {numbers}")
        entries[key] = ConvConfig(*numbers)
    machine = Machine(str(content["gpu"]), str(content["driver"]), str(content["triton"]))
    return Table(machine, bool(content["measured"]), entries, _passes(content.get("passes", {})))


def _passes(content: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Passes:
    found = {p: {int(n): dict(times) for n, times in batches.items()} for p, batches in content.items()}
    for batches in found.values():
        for images, times in batches.items():
            if images < 1 or not all(isinstance(t, float) and t > 0 for t in times.values()):
                raise ValueError(f"passes have {images}: {times}")
    return found


def _is_config(numbers: object) -> bool:
    """Whether the kernels can be compiled for it, and read no weights but their own."""
    if not (isinstance(numbers, list) and len(numbers) in (5, 6) and all(type(n) is int and n > 0 for n in numbers)):
        return False
    m, n, k, warps, stages, splits = [*numbers, 1][:6]
    powers = all(number & (number - 1) == 0 for number in (m, k, warps))
    fits = powers and min(m, n, k) >= 16 and n % 16 == 0 and n.bit_count() <= MOST_WIDTHS and max(m, n) <= 1024
    return fits and k <= MOST_K and warps <= 16 and stages <= 8 and splits <= MOST_SPLITS


def slug(text: str) -> str:
    """A name, as that of a GPU, as a part of the name of a file or folder."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
