"""``inception-fast explain``: numbers that add up, and files that are written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from inception_fast.cli.main import WRONG_USE, main

QUICK = ["explain", "tests.bench.nets:small", "--size", "31", "--backend", "reference"]
PASSES = ("captured", "fold_batchnorm", "fuse_residual", "merge_siblings", "eliminate_concat", "pair_factorized")


def test_every_pass_is_in_the_table_with_what_it_changed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(QUICK) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    # Stem 1, block 7, residual block 4; the block's four 1x1 become one, as do the residual's two; then one pair.
    convolutions = {name: cells[0] for name, cells in rows.items() if name in PASSES}
    assert convolutions == dict(zip(PASSES, ("12", "-", "-", "8", "-", "7"), strict=True))
    # Four parts of one concat and two of the other.
    copies = {name: cells[3] for name, cells in rows.items() if name in PASSES}
    assert copies == dict(zip(PASSES, ("6", "-", "-", "-", "0", "-"), strict=True))


def test_the_arena_beside_what_is_in_use_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--size", "299"]) == 0
    found = re.search(r"an arena of (\S+) MiB, of which (\S+) MiB are in use at once", capsys.readouterr().out)
    assert found is not None
    arena, in_use = map(float, found.groups())
    assert 0.8 * arena <= in_use <= arena


def test_steps_notes_json_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg, path = tmp_path / "net.svg", tmp_path / "net.json"
    assert main([*QUICK, "--steps", "--notes", "--svg", str(svg), "--json", str(path)]) == 0
    out = capsys.readouterr().out
    found = json.loads(path.read_text())
    for step in found["steps"]:
        assert f" {step['step']} " in out
    assert "BatchNorm: 11 -> 0" in out
    assert found["passes"][0]["name"] == "fold_batchnorm"
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")


def test_bytes_follow_the_precision(tmp_path: Path) -> None:
    written = {}
    for precision in ("fp32", "bf16"):
        path = tmp_path / f"{precision}.json"
        main([*QUICK, "--precision", precision, "--json", str(path)])
        written[precision] = sum(float(s["kB written"]) for s in json.loads(path.read_text())["steps"])
    assert written["fp32"] == pytest.approx(2 * written["bf16"], abs=20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["timm/nosuch"], "model: got 'timm/nosuch' (Unknown model (nosuch)), expected a reference model"),
        (["torchvision/nosuch"], "model: got 'torchvision/nosuch' ("),
        (["nosuch/nosuch"], "model: got 'nosuch/nosuch', expected"),
        (["os:getcwd"], "model: got 'os:getcwd' that returns str, expected"),
        (["tests.bench.nets:small", "--size", "2"], "size: got 2, for which tests.bench.nets:small fails: "),
    ],
)
def test_a_target_that_does_not_load_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(arguments[0].partition("/")[0]) if arguments[0].startswith(("timm", "torchv")) else None
    assert main(["explain", *arguments]) == WRONG_USE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"inception-fast: {message}")


def test_a_folder_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*QUICK, "--svg", str(tmp_path / "absent" / "net.svg")])
    assert caught.value.code == WRONG_USE


def test_islands_and_what_is_pytorchs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg, path = tmp_path / "net.svg", tmp_path / "net.json"
    parted = ["explain", "tests.bench.nets:parted", *QUICK[2:], "--svg", str(svg), "--json", str(path)]
    assert main(parted) == 0
    out = capsys.readouterr().out
    assert re.search(r"island0 +first\.\S+", out) and re.search(r"aten\.softplus\.default +second +1", out)
    found = json.loads(path.read_text())
    assert found["parts"]["foreign"][0]["op"] == "aten.softplus.default"
    assert found["islands"]["island0"]["passes"][0]["name"] == "fold_batchnorm"
    assert "island0" in svg.read_text()
