"""Plots of the recorded results: ``python -m benchmarks.plot [--results FOLDER] [--output FOLDER]``; needs matplotlib.

For each machine under ``benchmarks/results/``, from what is there:

- ``MACHINE-latency.svg`` and ``MACHINE-throughput.svg``: against the batch size, a panel for each model and precision
  that was recorded at two batch sizes or more (``bench*.json``); the band is the 10th to the 90th percentile;
- ``MACHINE-ratios.svg``: how much longer than ours the fastest other takes, a bar for each contest;
- ``MACHINE-KERNELS.svg``: each layer's rate against its arithmetic intensity, under the machine's measured roofline
  (``kernels*.json`` with a measured peak); Williams, Waterman and Patterson, "Roofline", 2009.

Nothing is typed in: a figure that no file holds is not drawn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.tables import RESULTS, ROOT, Standing, machine_of, rows_of, standings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGES = ROOT / "docs" / "images" / "results"
PANEL = (5.0, 3.6)
"""Inches."""


@dataclass(frozen=True)
class Curve:
    """A contestant over the batch sizes: seconds of a pass, median and percentiles, by batch."""

    name: str
    points: tuple[tuple[int, float, float, float], ...]


Panel = tuple[str, str]
"""Model and precision."""


def curves(records: Iterable[dict[str, Any]]) -> dict[Panel, list[Curve]]:
    """The contestants of each model and precision, in the order of their first appearance, batches ascending.

    Where a contestant was recorded twice at one batch size, the later record counts. A panel with a single batch size
    is left out.
    """
    found: dict[Panel, dict[str, dict[int, tuple[float, float, float]]]] = {}
    for record in records:
        for contest in record["contests"]:
            panel = found.setdefault((contest["model"], contest["precision"]), {})
            for row in rows_of(contest):
                s = row["seconds"]
                panel.setdefault(row["name"], {})[contest["batch"]] = (s["median"], s["p10"], s["p90"])
    return {
        panel: [Curve(name, tuple((b, *points[b]) for b in sorted(points))) for name, points in by_name.items()]
        for panel, by_name in found.items()
        if len({batch for points in by_name.values() for batch in points}) > 1
    }


@dataclass(frozen=True)
class Roofline:
    """Layers of a ``kernels`` record.

    Attributes:
        peak: operations per second that the machine was measured to reach.
        bandwidth: bytes per second, likewise.
        layers: (arithmetic intensity in operations per byte, operations per second) of each.
    """

    peak: float
    bandwidth: float
    layers: tuple[tuple[float, float], ...]


def roofline(record: dict[str, Any]) -> Roofline | None:
    """The layers under the measured limits; None where no limits were measured."""
    limits = record.get("peak")
    if not limits:
        return None
    kernels = [k for k in record["kernels"] if k["traffic"]]
    layers = tuple((k["operations"] / k["traffic"], k["operations"] / k["ours"]["median"]) for k in kernels)
    return Roofline(limits["operations_per_second"], limits["bytes_per_second"], layers)


def plot_machine(folder: Path, output: Path) -> list[Path]:
    """Draws what a machine's folder holds; returns the files."""
    files = sorted(folder.glob("bench*.json"))
    records = [json.loads(file.read_text()) for file in files]
    panels = curves(records)
    drawn = []
    contests = [standing for standing in standings(files) if standing.others]
    if contests:
        drawn.append(_figure(output / f"{folder.name}-ratios.svg", contests[0].machine, {"": contests}, draw_ratios))
    if panels:
        title = machine_of(records[0])
        for name, draw in (("latency", draw_latency), ("throughput", draw_throughput)):
            drawn.append(_figure(output / f"{folder.name}-{name}.svg", title, panels, draw))
    for file in sorted(folder.glob("kernels*.json")):
        found = roofline(json.loads(file.read_text()))
        if found is not None:
            drawn.append(_figure(output / f"{folder.name}-{file.stem}.svg", folder.name, {file.stem: found}, draw_roof))
    return drawn


def _batch_axis(axes: Axes, lines: list[Curve]) -> None:
    batches = sorted({point[0] for curve in lines for point in curve.points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, map(str, batches))


def draw_latency(axes: Axes, panel: Panel, lines: list[Curve]) -> None:
    from matplotlib.ticker import LogLocator

    for curve in lines:
        batches, *times = zip(*curve.points, strict=True)
        median, low, high = ([1e3 * t for t in series] for series in times)
        (line,) = axes.plot(batches, median, marker="o", markersize=3, label=curve.name)
        axes.fill_between(batches, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    _label(axes, f"{panel[0]}, {panel[1]}", "batch", "milliseconds")
    _batch_axis(axes, lines)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")


def draw_throughput(axes: Axes, panel: Panel, lines: list[Curve]) -> None:
    for curve in lines:
        batches = [point[0] for point in curve.points]
        axes.plot(batches, [p[0] / p[1] for p in curve.points], marker="o", markersize=3, label=curve.name)
    _label(axes, f"{panel[0]}, {panel[1]}", "batch", "images/s")
    _batch_axis(axes, lines)
    axes.set_ylim(bottom=0)


def draw_ratios(axes: Axes, _: str, contests: list[Standing]) -> None:
    labels = [f"{s.model}, {s.precision}, batch {s.batch}" for s in contests]
    bars = axes.barh(labels, [s.others[0][1] for s in contests], height=0.7)
    axes.bar_label(
        bars, [f"{name}, {ratio:.2f}x" for name, ratio in (s.others[0] for s in contests)], padding=3, fontsize=7
    )
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xlim(0, 1.35 * max(s.others[0][1] for s in contests))
    axes.tick_params(axis="y", labelsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("time of the fastest other over ours")


def draw_roof(axes: Axes, name: str, roof: Roofline) -> None:
    intensities = [x for x, _ in roof.layers]
    ends = [min(intensities) / 2, max(*intensities, 2 * roof.peak / roof.bandwidth)]
    corner = sorted([*ends, roof.peak / roof.bandwidth])
    axes.plot(
        corner, [min(roof.peak, x * roof.bandwidth) / 1e12 for x in corner], color="black", label="measured limit"
    )
    axes.scatter(intensities, [rate / 1e12 for _, rate in roof.layers], s=12, label="layers")
    _label(axes, name, "operations per byte", "10¹² operations per second")
    axes.set_xscale("log")
    axes.set_yscale("log")


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize=7)


def _figure(path: Path, title: str, panels: dict[Any, Any], draw: Callable[[Axes, Any, Any], None]) -> Path:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # The same records give the same file.
    with rc_context({"svg.hashsalt": "inception_fast", "svg.fonttype": "none"}):
        figure = Figure(figsize=(PANEL[0] * len(panels), PANEL[1]), layout="constrained")
        for axes, (panel, content) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            draw(axes, panel, content)
        figure.suptitle(title, fontsize=11)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--output", type=Path, default=IMAGES)
    args = parser.parse_args()
    for folder in sorted(path for path in args.results.iterdir() if path.is_dir()):
        for file in plot_machine(folder, args.output):
            print(file)


if __name__ == "__main__":
    main()
