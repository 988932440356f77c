"""``python -m tests.fuzz``."""

from __future__ import annotations

import sys

import pytest

from tests.fuzz import description as d
from tests.fuzz.__main__ import main


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fuzz", "--backend", "reference", "--precision", "fp32", *arguments])
    return main()


def test_failures_are_lines_with_a_network(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of float32 a thousandth of what is promised is too much to ask; of exact sums it is not."""
    assert call(monkeypatch, "--networks", "2", "--captured", "0", "--factor", "1e-3", "--seed", "9") == 1
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    seed, text, network = line.split(": ", 1)[0], line, line[line.index("Network(") :]
    assert seed == "seed 10 (backend=reference factor=0.001)" and "relative L2" in text
    small = eval(network, vars(d))
    assert isinstance(small, d.Network) and len(small.layers) == 1 and not small.exact
    assert err.splitlines()[-1] == "2 networks, 1 failed"


def test_success_and_the_time_limit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "--networks", "1000", "--minutes", "0") == 0
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[-1]) == ("", "1 networks, 0 failed")
