"""Options of launches: what the environment asks for is what happens, and what it gets wrong is named."""

from __future__ import annotations

import pytest
import torch

import inception_fast as ifast
from inception_fast.backends.cuda import OPTIONS
from inception_fast.errors import InputError
from tests.backends.cases import CASES
from tests.backends.harness import lowered, network_input
from tests.cpu.single_step import run_guarded
from tests.cuda.driving import Emulated, emulator
from tests.cuda.test_split_k import deep_network


@pytest.mark.parametrize(
    "text, message",
    [
        ("overlaps=1", "option: got 'overlaps', expected one of 'overlap', 'trigger', 'shortest', 'waves', 'shape', "),
        ("overlap", "option: got 'overlap', expected key=value"),
        ("overlap=2", "overlap: got '2', expected one of '0', '1'"),
        ("waves=2,trigger=soon", "trigger: got 'soon', expected one of 'early', 'late', 'none'"),
        ("shortest=0", "shortest: got '0', expected a number from 1 to "),
        ("shortest=5x", "shortest: got '5x', expected a number from 1 to "),
        ("waves=17", "waves: got '17', expected a number from 1 to 16"),
        ("shape=7x7", "shape: got '7x7', expected one of 'auto', '64x32', "),
        ("blocks=-1", "blocks: got '-1', expected a number from 0 to 32"),
    ],
)
def test_mistake_is_named(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPTIONS, text)
    with pytest.raises(InputError) as caught:
        ifast.optimize(torch.nn.Conv2d(3, 4, 1).eval(), torch.randn(1, 3, 4, 4), backend="cuda")
    assert str(caught.value).startswith(message)


LAUNCHES = [
    ("stage", "overlap=0"),
    ("stage", "trigger=late,overlap=1"),
    ("stage", "trigger=none"),
    ("pair", "trigger=late"),
    ("network", "blocks=1"),
]


def test_bits_do_not_depend_on_launches() -> None:
    graph = CASES["factorized_pairs"]()
    plan, constants = lowered(graph, "fp16")
    x = network_input(graph, "fp16", 1)
    (want,) = run_guarded(Emulated(plan, constants, "fp16"), plan, x)
    for driver, options in LAUNCHES:
        (got,) = run_guarded(Emulated(plan, constants, "fp16", driver, options), plan, x)
        assert torch.equal(got, want), (driver, options)


def partials(options: str) -> int:
    """Tiles of segments, each of which has a counter."""
    plan, constants = lowered(deep_network(), "fp16")
    return Emulated(plan, constants, "fp16", "stage", options).native.counter_bytes(1) // 4


def test_segments_follow_their_options() -> None:
    emulator().set_limits(132)
    usual = partials("shortest=384")
    assert usual == partials("shortest=384,waves=2") == partials("waves=2")
    assert partials("shortest=100000") == 0 < partials("shortest=1024") < usual < partials("shortest=128")
    emulator().set_limits(16)
    assert 0 < partials("waves=1") < partials("waves=2")


def test_network_blocks() -> None:
    """So many on each of four multiprocessors."""
    plan, constants = lowered(CASES["conv_3x3_wide"](), "fp16")
    x = network_input(CASES["conv_3x3_wide"](), "fp16", 8)
    for blocks in (1, 2):
        executor = Emulated(plan, constants, "fp16", "network", f"blocks={blocks}")
        emulator().take_counts()
        run_guarded(executor, plan, x)
        assert emulator().take_counts().blocks == 4 * blocks
