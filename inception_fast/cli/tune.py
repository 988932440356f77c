"""Measure the Triton kernels' configurations on this GPU and keep the fastest for later runs: those of every
convolution, then those of the convolutions that may share a launch, against one launch each.

The measurements go to the user's cache folder (or $INCEPTION_FAST_CACHE) and hold for this GPU, driver and Triton. What
is there already is kept, so a run that was interrupted can be continued.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from inception_fast.cli.options import add_models, positive
from inception_fast.cli.output import log, write_json
from inception_fast.cli.progress import progress
from inception_fast.cli.table import render_table

if TYPE_CHECKING:
    import torch

    from inception_fast.plan.plan import Plan
    from inception_fast.tuning.problem import ConvConfig

BATCHES = (1, 4, 8, 16, 32, 128)
PREDICTED = ("model", "batch", "launches", "us by rule", "without splits")
PASSES = ("batch", "backend", "us", "images/s")
HEADER = ("convolutions", "tile", "warps", "stages", "us", "TFLOP/s", "rule's us")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_models(parser)
    parser.add_argument("--size", type=positive, metavar="PIXELS", help="side of the images; default: the model's own")
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--precision", default="fp16", metavar="P", help="fp32, tf32, fp16 or bf16; default: fp16")
    batches = ", ".join(map(str, BATCHES))
    parser.add_argument("--batch", type=positive, action="append", metavar="N", help=f"repeatable; default: {batches}")
    parser.add_argument(
        "--passes",
        action="store_true",
        help="also time whole passes of the first model on cuda and triton, for 'auto' to choose between them",
    )
    parser.add_argument("--again", action="store_true", help="measure what is in the cache already, too")
    parser.add_argument(
        "--unmeasured",
        metavar="FILE",
        type=Path,
        help="only write the rule's choices for an H200 to FILE, and what it thinks of them; needs no GPU",
    )


def run(args: argparse.Namespace) -> int:
    import torch

    from inception_fast.backends import select_backend
    from inception_fast.bench.record import jsonable
    from inception_fast.bench.targets import chosen_models
    from inception_fast.cli.options import device_of
    from inception_fast.precision import check_precision
    from inception_fast.tuning.choice import limits_of, machine_of
    from inception_fast.tuning.cost import H200
    from inception_fast.tuning.group import group_key
    from inception_fast.tuning.measure import choices, device_timer, problems_of, tune
    from inception_fast.tuning.networks import plan_for_triton
    from inception_fast.tuning.table import Machine, Table, read_table, table_path, write_table

    check_precision(args.precision, calibrating=False)
    batches = tuple(dict.fromkeys(args.batch or BATCHES))
    models = chosen_models(args.models, args.all)
    if args.unmeasured:
        plans = {name: plan_for_triton(name, args.size, args.precision)[0] for name in models}
        problems = [p for plan in plans.values() for p in problems_of(plan, args.precision, batches)]
        entries = {group_key(p): choices(p, H200)[0] for p in problems}
        print(render_table(PREDICTED, [_predicted(*pair, args.precision) for pair in product(plans.items(), batches)]))
        write_table(args.unmeasured, Table(Machine("NVIDIA H200", "any", "any"), False, entries))
        log(f"{len(entries)} configurations by rule, none measured, are in {args.unmeasured}")
        return 0

    args.threads = None
    device = device_of(args)
    select_backend("triton", device, args.precision)
    machine = machine_of(device)
    path = table_path(machine)
    known = read_table(path) or Table(machine, True)
    rows, record = [], []
    with torch.cuda.device(device), torch.no_grad():
        for name in models:
            plan, constants = plan_for_triton(name, args.size, args.precision)
            wanted = problems_of(plan, args.precision, batches)
            missing = {p: s for p, s in wanted.items() if args.again or group_key(p) not in known.entries}
            log(f"{name}: {len(missing)} of {len(wanted)} convolutions and groups to measure on {machine.gpu}")
            measured = tune(plan, constants, missing, device, limits_of(device), device_timer, known.entries)
            for found in progress(measured, "tune", total=len(missing)):
                config, seconds = found.best
                known = replace(known, entries={**known.entries, found.key: config})
                write_table(path, known)
                shape = ("one by one", "", "") if config is None else _shape(config)
                rate = f"{found.flops / seconds / 1e12:.1f}"
                rows.append((found.key, *shape, f"{seconds * 1e6:.1f}", rate, f"{found.times[0][1] * 1e6:.1f}"))
                record.append({"problems": found.problems, "times": found.times})
    print(render_table(HEADER, rows))
    log(f"{len(known.entries)} configurations are in {path}")
    if args.passes:
        times = _timed_passes(models[0], args, device, batches)
        write_table(path, replace(known, passes={**known.passes, args.precision: times}))
        print(render_table(PASSES, _pass_rows(times)))
    write_json(args.json, jsonable({"machine": machine, "measurements": record}))
    return 0


def _predicted(plan: tuple[str, Plan], images: int, precision: str) -> tuple[str, ...]:
    from inception_fast.tuning.cost import H200
    from inception_fast.tuning.predict import predicted

    launches, seconds = predicted(plan[1], precision, images, H200)
    _, unsplit = predicted(plan[1], precision, images, H200, split=False)
    return plan[0], str(images), str(launches), f"{seconds * 1e6:.0f}", f"{unsplit * 1e6:.0f}"


def _timed_passes(
    model: str, args: argparse.Namespace, device: torch.device, batches: Sequence[int]
) -> dict[int, dict[str, float]]:
    """Seconds of forward passes of one Plan, by batch size and backend."""
    import torch

    from inception_fast.backends import select_backend
    from inception_fast.backends.auto import CONTENDERS
    from inception_fast.tuning.measure import device_timer
    from inception_fast.tuning.networks import plan_for_triton
    from inception_fast.tuning.passes import measure_passes

    plan, constants = plan_for_triton(model, args.size, args.precision)
    image, dtype = plan.buffers[plan.input], getattr(torch, plan.input_dtype)
    passes = {}
    for name in CONTENDERS[device.type]:
        backend = select_backend(name, device, args.precision)
        executor = backend.compile(plan, constants, device=device, precision=args.precision)
        for n in batches:
            x = torch.rand(n, image.channels, image.height, image.width, device=device).to(dtype)
            x = x.contiguous(memory_format=torch.channels_last)
            passes[name, n] = partial(executor.run, x)
    with torch.cuda.device(device), torch.no_grad():
        return measure_passes(passes, device_timer)


def _pass_rows(times: Mapping[int, Mapping[str, float]]) -> list[tuple[str, ...]]:
    rows = [(n, name, seconds) for n, found in sorted(times.items()) for name, seconds in found.items()]
    return [(str(n), name, f"{seconds * 1e6:.1f}", f"{n / seconds:.0f}") for n, name, seconds in rows]


def _shape(config: ConvConfig) -> tuple[str, int, int]:
    splits = f" in {config.splits}" if config.splits > 1 else ""
    return f"{config.m}x{config.n}x{config.k}{splits}", config.warps, config.stages
