"""Engine files of random networks through ``tests/cpp/concurrent_runs``, built under a sanitizer."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from inception_fast.plan.engine_file import EngineFile, Metadata, write_engine
from tests.cpp.building import MEMORY_SANITIZERS, build_sanitized
from tests.fuzz.checks import Failure
from tests.fuzz.description import Network
from tests.fuzz.generate import generate
from tests.fuzz.setting import Setting, ready
from tests.fuzz.sweep import Found, smallest
from tests.plan.tiny_engine import structure_of

FLAGS = {"address": MEMORY_SANITIZERS, "thread": "-O1 -fsanitize=thread"}
PRECISIONS = ("fp32", "int8", "bf16", "fp16")
TOGETHER = 20
"""Engines of one run of the program."""


def setting_of(seed: int, isas: Sequence[str]) -> Setting:
    turn, place = divmod(seed, len(isas))
    return Setting("cpu", PRECISIONS[turn % len(PRECISIONS)], isas[place])


def write_network(path: Path, network: Network, setting: Setting) -> Path:
    """Writes the network's engine file."""
    made = ready(network, setting)
    plan, given = made.plan, made.plan.input_dtype
    wanted = "float32" if network.bytes else None
    metadata = Metadata(setting.precision, False, network.image, given, structure_of(plan), output_dtype=wanted)
    write_engine(path, EngineFile(made.plan, made.constants, metadata))
    return path


def write_networks(folder: Path, seeds: Sequence[int], isas: Sequence[str] = ("portable",)) -> list[Path]:
    """An engine file for each seed."""
    return [write_network(folder / f"{seed}.ifast", generate(seed), setting_of(seed, isas)) for seed in seeds]


def objection(program: Path, engines: Sequence[Path], isa: str = "portable") -> str:
    """What a sanitizer, or the program itself, has against a run; '' where nothing."""
    result = subprocess.run([program, isa, *engines], capture_output=True, text=True, errors="replace", timeout=1200)
    return "" if result.returncode == 0 else result.stderr.strip() or f"exit status {result.returncode}"


def sweep_sanitized(sanitizer: str, seeds: Sequence[int], isas: Sequence[str]) -> Iterator[Found | None]:
    """As :func:`tests.fuzz.sweep.sweep`, the instruction sets in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"building with {FLAGS[sanitizer]}", file=sys.stderr)
        program = build_sanitized(folder, FLAGS[sanitizer], target="concurrent_runs", isas=isas) / "concurrent_runs"
        for first in range(0, len(seeds), TOGETHER):
            some = seeds[first : first + TOGETHER]
            engines = write_networks(folder, some, isas)
            settings = [setting_of(seed, isas) for seed in some]
            unsound = {
                isa
                for isa in isas
                if objection(program, [e for e, s in zip(engines, settings, strict=True) if s.isa == isa], isa)
            }
            for seed, engine, setting in zip(some, engines, settings, strict=True):
                yield _found(program, folder, seed, setting) if setting.isa in unsound else None
                engine.unlink()


def _found(program: Path, folder: Path, seed: int, setting: Setting) -> Found | None:
    def failure(network: Network, setting: Setting) -> Failure | None:
        text = objection(program, [write_network(folder / "one.ifast", network, setting)], setting.isa)
        return Failure("sanitizer", text) if text else None

    network = generate(seed)
    wrong = failure(network, setting)
    return None if wrong is None else smallest(seed, network, setting, wrong, failure)
