"""What a machine reaches, out of planted measurements; and that the real ones are possible."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from inception_fast.bench import peak
from inception_fast.bench.peak import Peak, measure_peak

CPU = torch.device("cpu")
RATES = {"fp32": 100.0, "bf16": 200.0, "int8": 0.0}


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A machine of two usable processors, which lacks the 8-bit dot product; the loops that were run."""
    loops: list[tuple[str, str]] = []

    def loop(isa: str, arithmetic: str, seconds: float) -> float:
        loops.append((isa, arithmetic))
        return RATES[arithmetic]

    module = SimpleNamespace(
        usable_processors=lambda: 2, instruction_sets=lambda: ["portable", "avx2"], peak_operations=loop
    )
    monkeypatch.setattr(peak, "native", lambda: module)
    monkeypatch.setattr(peak.torch, "get_num_threads", lambda: 16)
    monkeypatch.setattr(peak, "_copy_rate", lambda device: 50.0)
    return loops


@pytest.mark.parametrize(("precision", "rate"), [("fp32", 200.0), ("bf16", 400.0), ("fp16", 200.0), ("tf32", 200.0)])
def test_every_thread_adds_its_rate(two_threads: list[tuple[str, str]], precision: str, rate: float) -> None:
    found = measure_peak(CPU, precision)
    assert found == Peak(rate, 50.0, {"fp32": 200.0, "bf16": 400.0}, 2)
    assert sorted(two_threads) == sorted([("avx2", name) for name in RATES] * 2)


def test_without_the_compiled_part_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError("not built")

    monkeypatch.setattr(peak, "native", missing)
    assert measure_peak(CPU, "fp32") is None


def test_shares() -> None:
    limits = Peak(1000.0, 10.0, {}, 1)
    assert limits.share_of_arithmetic(600, 2.0) == 0.3
    assert limits.share_of_bandwidth(60, 2.0) == 3.0


def test_a_copy_counts_what_is_read_and_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.5, 0.25, 0.5])
    monkeypatch.setattr(peak, "timer_for", lambda device: lambda run, calls: next(seconds))
    monkeypatch.setattr(peak, "COPIED", 1000)
    monkeypatch.setattr(peak, "REPEATS", 3)
    assert peak._copy_rate(CPU) == 8000.0


def test_a_product_counts_its_multiplications_and_additions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "timer_for", lambda device: lambda run, calls: 0.5)
    monkeypatch.setattr(peak, "SIDE", 10)
    assert peak._product_rate(CPU, "bf16") == 4000.0
