"""Inception-v3 made faster, verified and timed on real photographs: what ``make demo`` runs.

Prints its tables on stdout and draws the fused network into ``demo-output/``. Takes about three minutes on two cores.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch

import inception_fast as ifast
from inception_fast.backends import get_backend
from inception_fast.bench.accuracy import true_outputs
from inception_fast.bench.contest import hold
from inception_fast.bench.peers import Task
from inception_fast.bench.verification import verify
from inception_fast.cli.bench import choose_entrants, render_contest
from inception_fast.cli.output import log
from inception_fast.cli.progress import progress
from inception_fast.cli.table import render_table
from inception_fast.cli.verify import render_verdicts
from inception_fast.explain import islands, summary
from inception_fast.explain.network import draw
from inception_fast.photos import NAMES, load_photos

FOLDER = Path("demo-output")
MODEL, SIZE = "inception_v3", 299
BATCHES = (1, 8)
ROUNDS, SECONDS = 30, 20.0


def main() -> int:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    log(f"1/4 {MODEL}: random weights, activations calibrated on the photographs")
    model = ifast.create_model(MODEL)
    photos = load_photos(SIZE)

    log("2/4 optimising")
    fast = ifast.optimize(model.to(device), photos[:1].to(device))
    model.cpu()
    ((_, explained),) = islands.explain(model, photos[:1], "fp32", get_backend(fast.backend).lowering).islands
    print(f"{MODEL} on {device} with backend '{fast.backend}'; numbers are per image\n")
    print(render_table(summary.PASS_COLUMNS, summary.pass_rows(explained)))
    print("\n" + "\n".join(summary.facts(fast.plan)), flush=True)
    FOLDER.mkdir(exist_ok=True)
    picture = FOLDER / f"{MODEL}.svg"
    picture.write_text(draw(fast.plan, MODEL, summary.caption(explained)), encoding="utf-8")
    log(f"    drew {picture}")

    log(f"3/4 verifying on {len(photos)} photographs against float64")
    truth = true_outputs(model, photos)
    tasks = [Task(model, photos, precision, device, torch.get_num_threads()) for precision in ("fp32", "bf16")]
    verdicts = [v for task in tasks for v in verify(task, truth, [fast.backend], bisect=True)]
    print(render_verdicts(f"error on {', '.join(NAMES)}", verdicts, {}), flush=True)

    log("4/4 timing")
    entrants = choose_entrants([fast.backend], ("eager", "torch.compile"))
    correct = all(v.ok for v in verdicts)
    for batch in BATCHES:
        title = f"{MODEL}, batch {batch}, fp32, {device}"
        task = Task(model, photos[:batch], "fp32", device, torch.get_num_threads())
        expected = [t[:batch] for t in truth]
        bar = partial(progress, label=title, total=ROUNDS)
        contest = hold(task, entrants, expected, rounds=ROUNDS, seconds=SECONDS, log=log, track=bar)
        print(render_contest(title, contest, batch, []), flush=True)
        correct &= all(row.correct for row in contest.rows)
    return 0 if correct else 1


if __name__ == "__main__":
    sys.exit(main())
