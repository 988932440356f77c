"""Show what runs where in a model, what each pass did to it in numbers, the steps that are left, and a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inception_fast.cli.options import MODELS_HELP, new_file, positive
from inception_fast.cli.output import log, write_json
from inception_fast.cli.table import render_table

if TYPE_CHECKING:
    from inception_fast.explain.islands import Explained
    from inception_fast.explain.summary import Explanation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", default="inception_v3", help=MODELS_HELP)
    parser.add_argument("--size", type=positive, metavar="PIXELS", help="side of the images; default: the model's own")
    parser.add_argument("--backend", default="auto", metavar="NAME", help="for which the passes run; default: auto")
    parser.add_argument("--precision", default="fp32", metavar="P", help="fp32, tf32, fp16 or bf16; default: fp32")
    parser.add_argument("--notes", action="store_true", help="what each pass changed, and left alone and why, by name")
    parser.add_argument("--steps", action="store_true", help="a table of all steps")
    parser.add_argument("--svg", type=new_file, metavar="FILE", help="draw blocks, branches, fused steps and buffers")


def run(args: argparse.Namespace) -> int:
    import torch

    from inception_fast.backends import get_backend, select_backend
    from inception_fast.bench.record import jsonable
    from inception_fast.bench.targets import load_target
    from inception_fast.explain import islands
    from inception_fast.precision import check_precision

    check_precision(args.precision, calibrating=False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # A backend that was named need not run here: only what it wishes for is asked.
    automatic = args.backend == "auto"
    backend = select_backend("auto", device, args.precision) if automatic else get_backend(args.backend)
    target = load_target(args.model, args.size)
    example = torch.zeros(1, 3, target.size, target.size)
    explained = islands.explain(target.model, example, args.precision, backend.lowering)
    title = f"{target.name}, {target.size}x{target.size}"
    print(f"{title}, {args.precision}, for backend '{backend.name}'; numbers are per image\n")
    if explained.parts is not None:
        print(render_table(islands.ISLAND_COLUMNS, islands.island_rows(explained.parts)))
        print("\n" + render_table(islands.FOREIGN_COLUMNS, islands.foreign_rows(explained.parts)))
    for name, island in explained.islands:
        if name:
            print(f"\n{name}\n")
        _print(island, args)
    if args.svg:
        _draw(explained, title, args.svg)
    payload = {
        "model": target.name,
        "size": target.size,
        "precision": args.precision,
        "backend": backend.name,
    }
    if explained.parts is None:
        payload |= _payload(explained.islands[0][1])
    else:
        payload |= {"parts": explained.parts, "islands": {name: _payload(i) for name, i in explained.islands}}
    write_json(args.json, jsonable(payload))
    return 0


def _print(explained: Explanation, args: argparse.Namespace) -> None:
    from inception_fast.explain import summary

    print(render_table(summary.PASS_COLUMNS, summary.pass_rows(explained)))
    print("\n" + "\n".join(summary.facts(explained.plan)))
    if args.notes:
        notes = [(report.name, note) for report in explained.passes for note in report.notes]
        print("\n" + render_table(("pass", "note"), notes))
    if args.steps:
        print("\n" + render_table(summary.STEP_COLUMNS, summary.step_rows(explained.plan)))


def _payload(explained: Explanation) -> dict[str, Any]:
    from inception_fast.explain import summary

    rows = [dict(zip(summary.STEP_COLUMNS, row, strict=True)) for row in summary.step_rows(explained.plan)]
    return {
        "passes": explained.passes,
        "stages": len(explained.plan.stages),
        "arena_elements": explained.plan.arena,
        "steps": rows,
    }


def _draw(explained: Explained, title: str, path: Path) -> None:
    """A picture; where there are several islands, one for each beside it, with its name in the file's."""
    from inception_fast.explain import summary
    from inception_fast.explain.network import draw

    for name, island in explained.islands:
        file = path if len(explained.islands) == 1 else path.with_stem(f"{path.stem}-{name}")
        heading = f"{title}, {name}" if name else title
        file.write_text(draw(island.plan, heading, summary.caption(island)), encoding="utf-8")
        log(f"wrote {file}")
