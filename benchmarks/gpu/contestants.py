"""Who is timed in a visit, for :func:`inception_fast.bench.contest.hold`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.networks import Target, Truth, fast_model, task_of
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.worker import Visit
from inception_fast.bench.contest import Entrant, hold
from inception_fast.bench.peers import Contestant, PeerUnavailableError, Task
from inception_fast.bench.peers import eager as eager_peer
from inception_fast.bench.peers.base import first_line
from inception_fast.bench.peers.ours import label
from inception_fast.bench.record import jsonable
from inception_fast.errors import BackendUnavailableError, InputError

FAILED = "failed with "
"""Begins the reason why one of ours takes no part, where it should have."""


def ours_name(contestant: str, options: str = "") -> str:
    """As the tables have it."""
    name = label("triton") if contestant == "triton" else f"{label('cuda')} {contestant}"
    return f"{name} {options}".strip()


def ours(work: Path, setting: Setting, contestant: str, options: str = "") -> Entrant:
    """A driver of the ``cuda`` backend, or ``triton``."""
    name = ours_name(contestant, options)

    def prepare(task: Task) -> list[Contestant]:
        try:
            fast = fast_model(work, setting, contestant, task.precision, options)
            _, executor = fast.executor_for(task.device)
            x = task.input(torch.channels_last)
            replay = fast.static(x)
        except BackendUnavailableError as error:
            raise PeerUnavailableError(str(error)) from error
        except Exception as error:
            # An option that this version lacks is no failure. The others are timed all the same.
            refused = options and isinstance(error, InputError)
            raise PeerUnavailableError(str(error) if refused else f"{FAILED}{first_line(error)}") from error
        note = f"backend {fast.backend}, driver {executor.driver or 'its only one'}, channels_last"
        return [Contestant(name, lambda: fast(x), note, lambda: replay)]

    return Entrant(name, prepare, ours=True)


def eager() -> Entrant:
    """PyTorch in channels_last with cuDNN's search."""
    return Entrant("eager", lambda task: [eager_peer.contestant(task, "channels_last")])


def contest(
    visit: Visit, target: Target, entrants: Sequence[Entrant], batch: int, precision: str, seconds: float
) -> dict[str, Any]:
    """A contest as ``inception-fast bench`` records it, and what is wrong with it."""
    setting = visit.setting
    truth = Truth.load(visit.work).batch(batch)
    task = task_of(setting, target, truth, precision)
    eager_in = visit.figures("correctness").get(f"eager-{precision}", {}).get("error")
    found = hold(
        task,
        entrants,
        truth.outputs,
        rounds=setting.rounds,
        seconds=seconds,
        yardstick=eager_in and eager_in["relative_l2"],
    )
    wrong = [f"{row.name}: wrong result" for row in found.rows if row.ours and not row.correct]
    wrong += [f"{name} {why}" for name, why in found.skipped.items() if why.startswith(FAILED)]
    title = {"model": target.name, "size": target.size, "batch": batch, "precision": precision, "failures": wrong}
    return {"contest": {**title, **jsonable(found)}, "wrong": "; ".join(wrong)}
