"""One contest: every contestant made ready, checked against the truth, and timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from inception_fast.bench.accuracy import Error, agrees, allowed, compare, flatten, plausible, within
from inception_fast.bench.peers import Contestant, PeerUnavailableError, Task
from inception_fast.bench.peers.base import first_line
from inception_fast.bench.statistics import Summary, paired_ratio
from inception_fast.bench.timing import Run, interleave, timer_for

Prepare = Callable[[Task], list[Contestant]]
SHORTEST_REPLAYS = 5e-3
"""Seconds of replays in a row that make a sample."""


@dataclass(frozen=True)
class Entrant:
    """Something that may take part: its name, how to make it ready, and whether it is ours."""

    name: str
    prepare: Prepare
    ours: bool = False


@dataclass(frozen=True)
class Replays:
    """What a contestant's pass takes on the device alone: a CUDA graph of it, replayed many times in a row.

    Attributes:
        seconds, samples, ratio, error: as those of :class:`Row`; the ratio is over the baseline's replays, None where
            that has none.
    """

    seconds: Summary
    samples: tuple[float, ...]
    ratio: Summary | None
    error: Error


@dataclass(frozen=True)
class Row:
    """A contestant's result.

    Attributes:
        entrant: whose contestant it is.
        seconds: of a call, from an idle device to its results.
        samples: seconds, one a round.
        ratio: its time over the baseline's, round by round: above 1 where the baseline is faster.
        bound: relative L2 that it may have: the package's promise for ours, plausibility for a peer.
        correct: whether the call's result is within it, and that of the replays.
        replays: None on a CPU, where nothing runs behind the host's back, and where nothing can be replayed.
        unrecorded: why not.
    """

    name: str
    entrant: str
    ours: bool
    note: str
    seconds: Summary
    samples: tuple[float, ...]
    ratio: Summary
    error: Error
    bound: float
    correct: bool
    replays: Replays | None = None
    unrecorded: str = ""


@dataclass(frozen=True)
class Contest:
    """All rows of one model, batch size and precision.

    Attributes:
        baseline: name of the row that the ratios are over: our first, or the first where none of ours runs.
        skipped: why the others did not take part, by entrant.
    """

    baseline: str | None
    rows: tuple[Row, ...]
    skipped: dict[str, str]


@contextmanager
def numerics(precision: str, search: bool = True) -> Iterator[None]:
    """PyTorch's global switches as a precision means them: TF32 only where it is asked for.

    Args:
        search: whether cuDNN may try its algorithms, which takes seconds at large batches.
    """
    before = torch.get_float32_matmul_precision()
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        # By default `flags` switches cuDNN off.
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, benchmark=search, allow_tf32=tf32):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def eager_error(task: Task, truth: Sequence[torch.Tensor]) -> Error:
    """The error of PyTorch eager in the task's precision on its device: what ours is measured by."""
    with numerics(task.precision, search=False):
        return compare(flatten(task.module()(task.input())), truth)


def hold(
    task: Task,
    entrants: Sequence[Entrant],
    truth: Sequence[torch.Tensor],
    *,
    rounds: int,
    seconds: float | None = None,
    yardstick: float | None = None,
    replays: bool = True,
    log: Callable[[str], None] = lambda _: None,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Contest:
    """Holds a contest.

    Args:
        truth: the outputs for the task's images in float64.
        rounds, seconds, track: as for :func:`inception_fast.bench.timing.interleave`; calls are timed first, then
            replays, each within ``seconds``.
        replays: on a GPU, time those too.
        yardstick: relative L2 of PyTorch eager in the task's precision on its device, where it is known.
        log: told what is being prepared.
    """
    ready: dict[str, tuple[Entrant, Contestant]] = {}
    errors: dict[str, Error] = {}
    skipped: dict[str, str] = {}
    yardstick = eager_error(task, truth).relative_l2 if yardstick is None else yardstick
    with numerics(task.precision):
        for entrant in entrants:
            log(f"preparing {entrant.name}")
            try:
                for contestant in entrant.prepare(task):
                    errors[contestant.name] = compare(flatten(contestant.run()), truth)
                    ready[contestant.name] = (entrant, contestant)
            except PeerUnavailableError as reason:
                skipped[entrant.name] = str(reason)
            except Exception as error:
                # A peer that fails is a line of the report; ours is a bug, to be seen with its traceback.
                if entrant.ours:
                    raise
                skipped[entrant.name] = f"failed with {first_line(error)}"
        timer = timer_for(task.device)
        runs = {name: contestant.run for name, (_, contestant) in ready.items()}
        samples = interleave(runs, rounds=rounds, seconds=seconds, timer=timer, track=track)
        recordings: dict[str, Run] = {}
        unrecorded: dict[str, str] = {}
        if replays and task.device.type == "cuda":
            recordings, unrecorded = record_all(ready.values(), log)
        replay_errors = {name: compare(flatten(replay()), truth) for name, replay in recordings.items()}
        replay_samples = interleave(
            recordings, rounds=rounds, seconds=seconds, timer=timer, shortest_sample=SHORTEST_REPLAYS
        )
    baseline = next((name for name, (entrant, _) in ready.items() if entrant.ours), next(iter(ready), None))
    rows = []
    for name, (entrant, contestant) in ready.items():
        bound, replayed = _bound(entrant, task.precision, yardstick), None
        if name in recordings:
            taken, ours = replay_samples[name], replay_samples.get(baseline or name)
            ratio = None if ours is None else paired_ratio(taken, ours)
            replayed = Replays(Summary.of(taken), tuple(taken), ratio, replay_errors[name])
        found = [errors[name], *([replayed.error] if replayed else [])]
        row = Row(
            name=name,
            entrant=entrant.name,
            ours=entrant.ours,
            note=contestant.note,
            seconds=Summary.of(samples[name]),
            samples=tuple(samples[name]),
            ratio=paired_ratio(samples[name], samples[baseline or name]),
            error=errors[name],
            bound=bound,
            correct=all(_right(error, entrant, task.precision, bound) for error in found),
            replays=replayed,
            unrecorded=unrecorded.get(name, ""),
        )
        rows.append(row)
    return Contest(baseline, tuple(rows), skipped)


def record_all(
    ready: Iterable[tuple[Entrant, Contestant]], log: Callable[[str], None]
) -> tuple[dict[str, Run], dict[str, str]]:
    """The replays of those that have some, by contestant, and why the others have none."""
    recordings, unrecorded = {}, {}
    for entrant, contestant in ready:
        if contestant.record is None:
            unrecorded[contestant.name] = contestant.unrecorded
            continue
        log(f"recording {contestant.name}")
        try:
            recordings[contestant.name] = contestant.record()
        except Exception as error:
            if entrant.ours:
                raise
            unrecorded[contestant.name] = f"failed with {first_line(error)}"
    return recordings, unrecorded


def _right(error: Error, entrant: Entrant, precision: str, bound: float) -> bool:
    return within(error, bound) and (not entrant.ours or agrees(precision, error))


def _bound(entrant: Entrant, precision: str, yardstick: float) -> float:
    return allowed(precision, yardstick) if entrant.ours else plausible(precision, yardstick)


@dataclass(frozen=True)
class Requirement:
    """``--require RATIO PEER``: the peer takes at least RATIO times as long as the baseline, calls and replays."""

    ratio: float
    peer: str

    def holds(self, contest: Contest) -> bool:
        """Whether every contestant of the peer is slow enough; False where the peer or ours did not take part."""
        rows = [row for row in contest.rows if row.entrant == self.peer]
        replays = [row.replays.ratio for row in rows if row.replays is not None]
        ratios = [ratio.median for ratio in (*(row.ratio for row in rows), *replays) if ratio is not None]
        return any(row.ours for row in contest.rows) and bool(ratios) and min(ratios) >= self.ratio
