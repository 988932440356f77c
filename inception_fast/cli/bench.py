"""Time our backends beside eager, torch.compile, ONNX Runtime, OpenVINO, JAX and cuDNN, each at its best settings.

Every result is checked against the model in float64 on the CPU. The exit status is 0 only where all results are right,
everything that was named took part, and every --require holds.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from inception_fast.cli.options import (
    add_backends,
    add_models,
    add_precisions,
    add_target,
    backends_of,
    device_of,
    positive,
    precisions_of,
)
from inception_fast.cli.output import log, write_json
from inception_fast.cli.progress import progress
from inception_fast.cli.table import render_table

if TYPE_CHECKING:
    from inception_fast.bench.contest import Contest, Entrant, Replays, Requirement, Row

PEER_NAMES = ("eager", "torch.compile", "onnxruntime", "openvino", "jax", "cudnn")
MOST_DISTINCT = 8
"""Images; larger batches repeat them, so that the truth in float64 does not take longer than the contest."""
HEADER = ("contestant", "median ms", "p10", "p90", "images/s", "ratio", "p10", "p90", "rel. L2", "allowed", "result")
REPLAY_HEADER = ("contestant", "replay ms", "p10", "p90", "images/s", "ratio", "p10", "p90", "rel. L2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_models(parser)
    add_target(parser)
    parser.add_argument("--batch", action="append", type=positive, metavar="N", help="repeatable; default: 1 and 8")
    add_precisions(parser, "fp32")
    add_backends(parser, "all that run here but the reference")
    parser.add_argument(
        "--peer", action="append", choices=PEER_NAMES, help="repeatable; default: all that are installed"
    )
    parser.add_argument("--rounds", type=positive, default=40, help="samples of each contestant; default: 40")
    parser.add_argument("--seconds", type=float, default=60.0, help="budget of timing per contest; default: 60")
    parser.add_argument("--random", action="store_true", help="noise in place of photographs")
    parser.add_argument(
        "--require",
        nargs=2,
        action="append",
        metavar=("RATIO", "PEER"),
        default=[],
        help="fail unless PEER takes at least RATIO times as long as our first backend, calls and replays, in every "
        "contest; repeatable",
    )


def run(args: argparse.Namespace) -> int:
    import torch

    from inception_fast.bench.accuracy import true_outputs
    from inception_fast.bench.contest import hold
    from inception_fast.bench.environment import environment
    from inception_fast.bench.peers import Task, ours
    from inception_fast.bench.record import jsonable
    from inception_fast.bench.targets import chosen_models, load_calibration, load_images, load_target, repeat

    device, precisions = device_of(args), precisions_of(args, ("fp32",))
    requirements = parse_requirements(args.require)
    entrants = choose_entrants(backends_of(args, device, reference=False), args.peer or PEER_NAMES)
    asked = {*(args.peer or ()), *(ours.label(name) for name in args.backend or ())}
    batches = sorted(set(args.batch or (1, 8)))
    payload = {
        "environment": environment(device),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "inputs": "noise" if args.random else "photographs",
        "requirements": requirements,
    }
    contests = []
    for name in chosen_models(args.models, args.all):
        target = load_target(name, args.size)
        distinct = load_images(target.size, min(batches[-1], MOST_DISTINCT), random=args.random)
        log(f"{name}: computing the truth in float64")
        truth = true_outputs(target.model, distinct)
        calibration = load_calibration(target.size, random=args.random) if "int8" in precisions else None
        for precision, batch in product(precisions, batches):
            title = f"{name}, {target.size}x{target.size}, batch {batch}, {precision}, {device}"
            contest = hold(
                Task(target.model, repeat(distinct, batch), precision, device, torch.get_num_threads(), calibration),
                entrants,
                [repeat(t, batch) for t in truth],
                rounds=args.rounds,
                seconds=args.seconds,
                log=partial(_log_under, title),
                track=partial(progress, label=title, total=args.rounds),
            )
            failures = find_failures(contest, asked, requirements)
            print(render_contest(title, contest, batch, failures), flush=True)
            settings = {"model": name, "size": target.size, "batch": batch, "precision": precision}
            contests.append({**settings, "failures": failures, **jsonable(contest)})
    healthy = not any(contest["failures"] for contest in contests)
    write_json(args.json, jsonable({**payload, "contests": contests, "ok": healthy}))
    return 0 if healthy else 1


def _log_under(title: str, message: str) -> None:
    log(f"{title}: {message}")


def parse_requirements(pairs: Sequence[Sequence[str]]) -> list[Requirement]:
    """``--require`` as it was written.

    Raises:
        InputError: a ratio is no positive number, or there is no such peer.
    """
    from inception_fast.bench.contest import Requirement
    from inception_fast.errors import InputError

    found = []
    for ratio, peer in pairs:
        if peer not in PEER_NAMES:
            raise InputError("--require", repr(peer), f"one of {', '.join(PEER_NAMES)}")
        try:
            found.append(Requirement(float(ratio), peer))
        except ValueError as error:
            raise InputError("--require", repr(ratio), "a number") from error
    return found


def choose_entrants(backends: Sequence[str], peers: Sequence[str]) -> list[Entrant]:
    """Our backends, the first of which everything is compared with, and the peers."""
    from inception_fast.bench.contest import Entrant
    from inception_fast.bench.peers import PEERS, ours

    entrants = [Entrant(ours.label(name), ours.preparer(name), ours=True) for name in backends]
    return entrants + [Entrant(name, PEERS[name]) for name in PEER_NAMES if name in peers]


def find_failures(contest: Contest, asked: Collection[str], requirements: Sequence[Requirement]) -> list[str]:
    """Why a contest does not hold what was asked, a sentence each.

    Args:
        asked: entrants that were named on the command line, so must not be skipped.
    """
    failures = [f"{row.name}: wrong result" for row in contest.rows if not row.correct]
    if not any(row.ours for row in contest.rows):
        failures.append("none of our backends took part")
    failures += [f"{name}: {reason}" for name, reason in contest.skipped.items() if name in asked]
    for requirement in requirements:
        if not requirement.holds(contest):
            failures.append(f"required: {requirement.peer} at least {requirement.ratio:g}x ours")
    return failures


def render_contest(title: str, contest: Contest, batch: int, failures: Sequence[str]) -> str:
    """A contest as a table, another of the replays where there are some, then who was skipped and what failed."""
    rows = [
        (row.name, *_figures(row, batch), f"{row.bound:.1e}", "ok" if row.correct else "WRONG") for row in contest.rows
    ]
    rounds = contest.rows[0].seconds.count if contest.rows else 0
    lines = [f"\n{title}; {rounds} rounds in turns, times over those of '{contest.baseline}'"]
    lines += [render_table(HEADER, rows)] if rows else []
    replays = [(row.name, *_figures(row.replays, batch)) for row in contest.rows if row.replays]
    if replays:
        lines += ["the device alone, CUDA graphs in a row:", render_table(REPLAY_HEADER, replays)]
    lines += [f"not recorded {row.name}: {row.unrecorded}" for row in contest.rows if row.unrecorded]
    lines += [f"skipped {name}: {reason}" for name, reason in contest.skipped.items()]
    return "\n".join(lines + [f"FAILED {failure}" for failure in failures])


def _figures(found: Row | Replays, batch: int) -> tuple[str, ...]:
    """Milliseconds, images a second, ratio and error."""
    seconds, ratio = found.seconds, found.ratio
    ratios = ("", "", "") if ratio is None else tuple(f"{r:.3f}" for r in (ratio.median, ratio.p10, ratio.p90))
    times = (f"{1e3 * s:.3f}" for s in (seconds.median, seconds.p10, seconds.p90))
    return (*times, f"{batch / seconds.median:.1f}", *ratios, f"{found.error.relative_l2:.1e}")
