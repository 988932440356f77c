"""Time each fused step of the models beside its unfused PyTorch twin: convolution, batch norm, ReLU, addition.

Every shape that occurs is timed once, on its own, checked against the twin in float64, and held against what the
machine was just measured to reach. What a step saves by writing into its slice is in the rows of the concats, which
only PyTorch has. On the CPU, and without a filter, the whole networks follow on 1, 2, 4, ... threads. The exit status
is 0 only where all are right.
"""

from __future__ import annotations

import argparse
import re
from functools import partial
from typing import TYPE_CHECKING

from inception_fast.cli.options import add_models, add_target, device_of, positive
from inception_fast.cli.output import log, write_json
from inception_fast.cli.progress import progress
from inception_fast.cli.table import render_table

if TYPE_CHECKING:
    from inception_fast.bench.kernel_contest import KernelRow
    from inception_fast.bench.peak import Peak
    from inception_fast.bench.scaling import Scale

HEADER = (
    *("step", "times", "us", "p10", "p90", "GFLOP/s", "of peak", "GB/s", "of copy"),
    *("eager us", "format", "ratio", "rel. L2", "result"),
)
CONCAT_HEADER = ("eliminated", "eager us", "p10", "p90")
SCALING_HEADER = ("model", "threads", "ms", "p10", "p90", "speedup", "per thread", "GFLOP/s")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_models(parser)
    add_target(parser)
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="number of images; default: 1")
    parser.add_argument("--precision", default="fp32", metavar="P", help="fp32, tf32, fp16 or bf16; default: fp32")
    parser.add_argument("--backend", default="auto", metavar="NAME", help="default: auto")
    parser.add_argument("--rounds", type=positive, default=15, help="samples of each contestant; default: 15")
    parser.add_argument("--filter", metavar="REGEX", default="", help="only shapes whose words or step names match")


def run(args: argparse.Namespace) -> int:
    import torch

    from inception_fast.backends import select_backend
    from inception_fast.bench import kernel_contest
    from inception_fast.bench.environment import environment
    from inception_fast.bench.layers import concats, unique_layers
    from inception_fast.bench.peak import measure_peak
    from inception_fast.bench.record import jsonable
    from inception_fast.bench.scaling import scaling
    from inception_fast.bench.targets import chosen_models, load_target
    from inception_fast.graph.capture import capture
    from inception_fast.graph.passes import optimize_graph
    from inception_fast.lowering.lower import lower
    from inception_fast.plan.engine_file import PRECISIONS
    from inception_fast.precision import check_precision

    device, wanted = device_of(args), pattern(args.filter)
    check_precision(args.precision, calibrating=False)
    backend = select_backend(args.backend, device, args.precision)
    graphs, plans = {}, {}
    for name in chosen_models(args.models, args.all):
        target = load_target(name, args.size)
        example = torch.zeros(1, 3, target.size, target.size)
        graphs[name], _ = optimize_graph(capture(target.model, example).graph, backend.lowering)
        plans[name] = lower(graphs[name], "float64")
    layers = [y for y in unique_layers(plans) if wanted.search(y.label) or any(map(wanted.search, y.names))]
    joins = {label: pieces for label, pieces in concats(p for p, _ in plans.values()).items() if wanted.search(label)}
    if not layers and not joins:
        log(f"no step matches --filter {args.filter!r}")
        return 1
    without_device = {"batch": args.batch, "precision": args.precision, "rounds": args.rounds}
    settings = {**without_device, "device": device}
    peak = measure_peak(device, args.precision)
    rows = [kernel_contest.hold(layer, backend, **settings) for layer in progress(layers, "kernels")]
    eliminated = {
        label: kernel_contest.time_concat(pieces, **settings) for label, pieces in progress(joins.items(), "concats")
    }
    scales = {}
    if device.type == "cpu" and not args.filter:
        for name, graph in graphs.items():
            plan, constants = lower(graph, PRECISIONS[args.precision])
            track = partial(progress, label=f"scaling of {name}")
            scales[name] = scaling(plan, constants, backend, **without_device, track=track)
    print(f"{', '.join(plans)}; batch {args.batch}, {args.precision}, backend '{backend.name}' on {device}")
    print(f"{_machine(peak)}\n")
    if rows:
        print(render_table(HEADER, [_cells(row, peak) for row in rows]))
    if eliminated:
        joined = [(label, *(f"{1e6 * t:.1f}" for t in (s.median, s.p10, s.p90))) for label, s in eliminated.items()]
        print("\n" + render_table(CONCAT_HEADER, joined))
    if scales:
        scaled = [_scale_cells(name, scale) for name, found in scales.items() for scale in found]
        print("\n" + render_table(SCALING_HEADER, scaled))
    payload = {
        "environment": environment(device),
        "models": list(plans),
        **settings,
        "device": str(device),
        "backend": backend.name,
        "peak": peak,
        "kernels": [jsonable(row) | _shares(row, peak) for row in rows],
        "concats": eliminated,
        "scaling": scales,
        "ok": all(row.correct for row in rows),
    }
    write_json(args.json, jsonable(payload))
    return 0 if payload["ok"] else 1


def pattern(text: str) -> re.Pattern[str]:
    """``--filter`` as a regular expression; ``x`` stands for the multiplication sign too.

    Raises:
        InputError: it is none.
    """
    from inception_fast.errors import InputError
    from inception_fast.explain.labels import TIMES

    try:
        return re.compile(text.replace("x", f"[x{TIMES}]"))
    except re.error as error:
        raise InputError("--filter", repr(text), f"a regular expression ({error})") from error


def _machine(peak: Peak | None) -> str:
    if peak is None:
        return "what the machine can reach is not known: the C++ part is missing"
    rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in peak.arithmetic.items())
    threads = f" on {peak.threads} threads" if peak.threads else ""
    return f"measured at its best{threads}: {rates}; {peak.bytes_per_second / 1e9:.1f} GB/s in a copy"


def _shares(row: KernelRow, peak: Peak | None) -> dict[str, float | None]:
    """Of what the machine was measured to reach."""
    if peak is None:
        return {"share_of_arithmetic": None, "share_of_bandwidth": None}
    return {
        "share_of_arithmetic": peak.share_of_arithmetic(row.operations, row.ours.median),
        "share_of_bandwidth": peak.share_of_bandwidth(row.traffic, row.ours.median),
    }


def _scale_cells(model: str, scale: Scale) -> tuple[object, ...]:
    return (
        model,
        scale.threads,
        *(f"{1e3 * t:.2f}" for t in (scale.seconds.median, scale.seconds.p10, scale.seconds.p90)),
        f"{scale.speedup.median:.2f}",
        f"{scale.speedup.median / scale.threads:.0%}",
        f"{scale.operations / scale.seconds.median / 1e9:.0f}",
    )


def _cells(row: KernelRow, peak: Peak | None) -> tuple[object, ...]:
    arithmetic, bandwidth = _shares(row, peak).values()
    return (
        row.label,
        len(row.names),
        *(f"{1e6 * t:.1f}" for t in (row.ours.median, row.ours.p10, row.ours.p90)),
        f"{row.operations / row.ours.median / 1e9:.1f}",
        None if arithmetic is None else f"{arithmetic:.0%}",
        f"{row.traffic / row.ours.median / 1e9:.1f}",
        None if bandwidth is None else f"{bandwidth:.0%}",
        f"{1e6 * row.eager.median:.1f}",
        row.memory_format,
        f"{row.ratio.median:.2f}",
        f"{row.error.relative_l2:.1e}",
        "ok" if row.correct else "WRONG",
    )
