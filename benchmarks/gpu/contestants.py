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
from inception_fast.errors import BackendUnavailableError

REPLAY = ", replay"
"""After the name of a contestant whose pass is a CUDA graph that reads and writes memory of its own."""
FAILED = "failed with "
"""Begins the reason why one of ours takes no part, where it should have."""


def ours_name(contestant: str, options: str = "") -> str:
    """As the tables have it."""
    name = label("triton") if contestant == "triton" else f"{label('cuda')} {contestant}"
    return f"{name} {options}".strip()


def ours(work: Path, setting: Setting, contestant: str, options: str = "", *, calls: bool = True) -> Entrant:
    """A driver of the ``cuda`` backend, or ``triton``: the calls of users, and replays.

    Args:
        calls: with the former.
    """
    name = ours_name(contestant, options)

    def prepare(task: Task) -> list[Contestant]:
        try:
            fast = fast_model(work, setting, contestant, task.precision, options)
            _, executor = fast.executor_for(task.device)
            how = f"backend {fast.backend}, driver {executor.driver or 'its only one'}"
            x = task.input(torch.channels_last)
            found = [Contestant(name, lambda: fast(x), f"{how}, a call: checks, copies in and out")] if calls else []
            return [*found, Contestant(f"{name}{REPLAY}", fast.static(x), f"{how}, a CUDA graph of the pass")]
        except BackendUnavailableError as error:
            raise PeerUnavailableError(str(error)) from error
        except Exception as error:
            # The others are timed all the same; the case says that this one failed.
            raise PeerUnavailableError(f"{FAILED}{first_line(error)}") from error

    return Entrant(name, prepare, ours=True)


def eager() -> Entrant:
    """PyTorch in channels_last with cuDNN's search: calls, and replays of a CUDA graph."""

    def prepare(task: Task) -> list[Contestant]:
        call = eager_peer.contestant(task, "channels_last")
        assert call.record is not None
        return [call, Contestant(f"{call.name}{REPLAY}", call.record(), "a CUDA graph of the pass")]

    return Entrant("eager", prepare)


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
        # Replays are contestants of their own here.
        replays=False,
    )
    wrong = [f"{row.name}: wrong result" for row in found.rows if row.ours and not row.correct]
    wrong += [f"{name} {why}" for name, why in found.skipped.items() if why.startswith(FAILED)]
    title = {"model": target.name, "size": target.size, "batch": batch, "precision": precision, "failures": wrong}
    return {"contest": {**title, **jsonable(found)}, "wrong": "; ".join(wrong)}
