"""A fault planted in one step of the torch backend."""

from __future__ import annotations

import importlib

import pytest

from inception_fast.plan.plan import Step, destinations_of

torch_backend = importlib.import_module("inception_fast.backends.torch")


def plant(monkeypatch: pytest.MonkeyPatch, step_name: str, factor: float = 1.01) -> None:
    """Scales what the step writes first."""
    build = torch_backend.TorchExecutor._build

    def faulty(self, step: Step, *rest):
        run = build(self, step, *rest)
        if step.name != step_name:
            return run

        def wrong(buffers) -> None:
            run(buffers)
            piece = destinations_of(step)[0].slice
            written = buffers[piece.buffer].narrow(1, piece.start, piece.channels)
            written.mul_(factor)

        return wrong

    monkeypatch.setattr(torch_backend.TorchExecutor, "_build", faulty)
