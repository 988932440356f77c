"""Compare each backend with the model in float64 on the CPU, beside what eager's own rounding costs.

A backend may have twice the error of PyTorch eager in the same precision on the same device, or 1e-5 in fp32, whichever
is larger (relative L2). In int8, which is calibrated on other crops than the images, it may have 0.1, and the largest
entry of every image must be the model's largest, or one at most 0.3 root mean squares of the image's entries below it
(the column "regret"). The exit status is 0 only where every backend keeps to that.
"""

from __future__ import annotations

import argparse
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
    from inception_fast.bench.verification import Verdict

HEADER = ("precision", "backend", "relative L2", "eager's", "allowed", "max abs", "top-1", "regret", "result")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_models(parser)
    add_target(parser)
    parser.add_argument("--batch", type=positive, default=4, metavar="N", help="number of images; default: 4")
    add_precisions(parser, "fp32 and bf16")
    add_backends(parser, "all that run here")
    parser.add_argument("--random", action="store_true", help="noise in place of photographs")
    parser.add_argument("--bisect", action="store_true", help="name the first wrong step of a backend that fails")


def run(args: argparse.Namespace) -> int:
    import torch

    from inception_fast.bench.accuracy import true_outputs
    from inception_fast.bench.environment import environment
    from inception_fast.bench.peers import Task
    from inception_fast.bench.record import jsonable
    from inception_fast.bench.targets import chosen_models, load_calibration, load_images, load_target
    from inception_fast.bench.verification import refusal, verify

    device, precisions = device_of(args), precisions_of(args, ("fp32", "bf16"))
    backends = backends_of(args, device, reference=True)
    models, healthy = [], True
    for name in progress(chosen_models(args.models, args.all), "verify"):
        log(f"{name}: computing the truth in float64")
        target = load_target(name, args.size)
        images = load_images(target.size, args.batch, random=args.random)
        truth = true_outputs(target.model, images)
        verdicts: list[Verdict] = []
        skipped: dict[str, str] = {}
        for precision in precisions:
            reasons = {backend: refusal(backend, device, precision) for backend in backends}
            skipped |= {f"{backend} in {precision}": reason for backend, reason in reasons.items() if reason}
            calibration = load_calibration(target.size, random=args.random) if precision == "int8" else None
            task = Task(target.model, images, precision, device, torch.get_num_threads(), calibration)
            able = [backend for backend, reason in reasons.items() if not reason]
            verdicts += verify(task, truth, able, bisect=args.bisect)
        # A backend that was named must run; one that was only found here need not serve every precision.
        held = all(v.ok for v in verdicts) and bool(verdicts) and not (args.backend and skipped)
        healthy &= held
        print(render_verdicts(f"{name}, {target.size}x{target.size}, batch {args.batch}, {device}", verdicts, skipped))
        models.append({"model": name, "size": target.size, "verdicts": verdicts, "skipped": skipped, "ok": held})
    payload = {"environment": environment(device), "device": str(device), "batch": args.batch}
    write_json(args.json, jsonable({**payload, "models": models, "ok": healthy}))
    return 0 if healthy else 1


def render_verdicts(title: str, verdicts: list[Verdict], skipped: dict[str, str]) -> str:
    """A model's verdicts as a table, then what could not run and what is wrong."""
    rows = [
        (
            v.precision,
            v.backend,
            *(f"{e:.1e}" for e in (v.error.relative_l2, v.eager.relative_l2, v.bound, v.error.max_abs)),
            None if v.error.top1 is None else f"{v.error.top1:.0%}",
            None if v.error.regret is None else f"{v.error.regret:.2f}",
            "ok" if v.ok else "FAIL",
        )
        for v in verdicts
    ]
    lines = [f"\n{title}", render_table(HEADER, rows)]
    lines += [f"skipped {what}: {reason}" for what, reason in skipped.items()]
    for v in verdicts:
        if v.divergence is not None:
            d = v.divergence
            error = f"relative L2 {d.error:.1e}, allowed {d.bound:.1e}"
            lines.append(f"{v.backend} in {v.precision} first goes wrong at step {d.step} ({d.kind}): {error}")
    return "\n".join(lines)
