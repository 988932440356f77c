"""Show where a model's time goes, step by step, and how near each step comes to the hardware."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from inception_fast.cli.options import MODELS_HELP, add_target, device_of, new_file, positive
from inception_fast.cli.output import log, write_json
from inception_fast.cli.progress import progress
from inception_fast.cli.table import render_table

if TYPE_CHECKING:
    from inception_fast.bench.profiling import StepProfile

HEADER = ("stage", "step", "what", "ms", "p10", "p90", "share", "GFLOP/s", "GB/s", "algorithm")
OPERATION_HEADER = ("operation", "steps", "ms", "share", "GFLOP/s")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", default="inception_v3", help=MODELS_HELP)
    add_target(parser)
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="number of images; default: 1")
    parser.add_argument(
        "--precision", default="fp32", metavar="P", help="fp32, tf32, fp16, bf16 or int8; default: fp32"
    )
    parser.add_argument("--backend", default="auto", metavar="NAME", help="default: auto")
    parser.add_argument("--rounds", type=positive, default=20, help="passes to take the median of; default: 20")
    parser.add_argument("--top", type=positive, metavar="N", help="only the N slowest steps")
    parser.add_argument("--random", action="store_true", help="noise in place of photographs")
    parser.add_argument("--trace", type=new_file, metavar="FILE", help="write a trace for chrome://tracing or Perfetto")


def run(args: argparse.Namespace) -> int:
    from inception_fast.bench.environment import environment
    from inception_fast.bench.profiling import chrome_trace, profile, timeline
    from inception_fast.bench.record import jsonable
    from inception_fast.bench.targets import load_calibration, load_images, load_target
    from inception_fast.fast_model import FastModel
    from inception_fast.optimization import optimize

    device = device_of(args)
    target = load_target(args.model, args.size)
    x = load_images(target.size, args.batch, random=args.random).to(device)
    examples = load_calibration(target.size, random=args.random).to(device) if args.precision == "int8" else x[:1]
    fast = optimize(target.model.to(device), examples, precision=args.precision, backend=args.backend, strict=True)
    assert isinstance(fast, FastModel)
    try:
        result = profile(fast, x, args.rounds, partial(progress, label="profile"))
    except NotImplementedError as error:
        log(f"backend '{fast.backend}': {error}")
        return 1
    steps = sorted(result.steps, key=lambda s: -s.seconds.median)[: args.top] if args.top else result.steps
    size = f"{target.size}x{target.size}"
    print(f"{target.name}, {size}, batch {args.batch}, {args.precision}, backend '{fast.backend}' on {device}\n")
    rows = [
        (
            s.stage,
            s.step,
            s.what,
            *(f"{1e3 * t:.3f}" for t in (s.seconds.median, s.seconds.p10, s.seconds.p90)),
            f"{s.share:.1%}",
            f"{s.operations / s.seconds.median / 1e9:.1f}",
            f"{s.traffic / s.seconds.median / 1e9:.1f}",
            s.algorithm,
        )
        for s in steps
    ]
    print(render_table(HEADER, rows) + "\n")
    print(render_table(OPERATION_HEADER, _operation_rows(result.steps)))
    total, whole = sum(s.seconds.median for s in result.steps), result.whole
    spread = f"p10 {1e3 * whole.p10:.3f}, p90 {1e3 * whole.p90:.3f}"
    print(f"\nsum of the steps {1e3 * total:.3f} ms; the pass as a whole {1e3 * whole.median:.3f} ms ({spread})")
    if args.trace:
        args.trace.write_text(json.dumps(timeline(fast, x) or chrome_trace(result.steps)), encoding="utf-8")
        log(f"wrote {args.trace}")
    settings = {"model": target.name, "size": target.size, "batch": args.batch, "precision": args.precision}
    payload = {"environment": environment(device), **settings, "backend": fast.backend, "device": str(device)}
    write_json(args.json, jsonable({**payload, "steps": result.steps, "whole": result.whole}))
    return 0


def _operation_rows(steps: Sequence[StepProfile]) -> list[tuple[object, ...]]:
    """Steps that do the same, together; the slowest first."""
    groups: dict[str, list[StepProfile]] = {}
    for step in steps:
        groups.setdefault(step.operation, []).append(step)
    totals = {name: sum(s.seconds.median for s in group) for name, group in groups.items()}
    return [
        (
            name,
            len(groups[name]),
            f"{1e3 * totals[name]:.3f}",
            f"{sum(s.share for s in groups[name]):.1%}",
            f"{sum(s.operations for s in groups[name]) / totals[name] / 1e9:.1f}",
        )
        for name in sorted(groups, key=lambda name: -totals[name])
    ]
