"""Time each fused step of the models beside its unfused PyTorch twin: convolution, batch norm, ReLU, addition.

Every shape that occurs is timed once, on its own, and checked against the twin in float64. What a step saves by writing
into its slice is in the rows of the concats, which only PyTorch has. The exit status is 0 only where all are right.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from inception_fast.cli.options import add_models, add_target, device_of, positive
from inception_fast.cli.output import log, write_json
from inception_fast.cli.progress import progress
from inception_fast.cli.table import render_table

if TYPE_CHECKING:
    from inception_fast.bench.kernel_contest import KernelRow

HEADER = ("step", "times", "us", "p10", "p90", "TFLOP/s", "GB/s", "eager us", "format", "ratio", "rel. L2", "result")
CONCAT_HEADER = ("eliminated", "eager us", "p10", "p90")


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
    from inception_fast.bench.record import jsonable
    from inception_fast.bench.targets import chosen_models, load_target
    from inception_fast.graph.capture import capture
    from inception_fast.graph.passes import optimize_graph
    from inception_fast.optimization import check_precision
    from inception_fast.plan.lower import lower

    device, wanted = device_of(args), pattern(args.filter)
    check_precision(args.precision)
    backend = select_backend(args.backend, device, args.precision)
    plans = {}
    for name in chosen_models(args.models, args.all):
        target = load_target(name, args.size)
        example = torch.zeros(1, 3, target.size, target.size)
        graph, _ = optimize_graph(capture(target.model, example).graph, backend.lowering)
        plans[name] = lower(graph, "float64")
    layers = [y for y in unique_layers(plans) if wanted.search(y.label) or any(map(wanted.search, y.names))]
    joins = {label: pieces for label, pieces in concats(p for p, _ in plans.values()).items() if wanted.search(label)}
    if not layers and not joins:
        log(f"no step matches --filter {args.filter!r}")
        return 1
    settings = {"batch": args.batch, "precision": args.precision, "device": device, "rounds": args.rounds}
    rows = [kernel_contest.hold(layer, backend, **settings) for layer in progress(layers, "kernels")]
    eliminated = {
        label: kernel_contest.time_concat(pieces, **settings) for label, pieces in progress(joins.items(), "concats")
    }
    print(f"{', '.join(plans)}; batch {args.batch}, {args.precision}, backend '{backend.name}' on {device}\n")
    if rows:
        print(render_table(HEADER, [_cells(row) for row in rows]))
    if eliminated:
        table = [(label, *(f"{1e6 * t:.1f}" for t in (s.median, s.p10, s.p90))) for label, s in eliminated.items()]
        print("\n" + render_table(CONCAT_HEADER, table))
    payload = {
        "environment": environment(device),
        "models": list(plans),
        **settings,
        "device": str(device),
        "backend": backend.name,
        "kernels": rows,
        "concats": eliminated,
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


def _cells(row: KernelRow) -> tuple[object, ...]:
    return (
        row.label,
        len(row.names),
        *(f"{1e6 * t:.1f}" for t in (row.ours.median, row.ours.p10, row.ours.p90)),
        f"{row.operations / row.ours.median / 1e12:.3f}",
        f"{row.traffic / row.ours.median / 1e9:.1f}",
        f"{1e6 * row.eager.median:.1f}",
        row.memory_format,
        f"{row.ratio.median:.2f}",
        f"{row.error.relative_l2:.1e}",
        "ok" if row.correct else "WRONG",
    )
