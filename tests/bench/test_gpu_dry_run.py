"""The whole way of a visit on a CPU: from a bare copy of the sources in a fresh folder, without an index, beside parts
that fail and hang.

The copy configures the build itself and takes the modules that are built here: compiling the same files again would
take most of the time that the tests have, and other tests run what these were compiled from.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.gpu.journal import cases_of, read_lines
from benchmarks.gpu.packing import LARGEST, MOST_FILES
from benchmarks.gpu.part import FAILED, HELD, SKIPPED, STOPPED
from benchmarks.gpu.source_digest import FILES, FOLDERS, ROOT, source_digest
from benchmarks.gpu.visit import FIRST
from benchmarks.tables import results_table
from inception_fast._build_info import build_info

LONGEST = 600
"""Seconds, for a machine that does much else; alone it takes a minute."""
PACKAGE = ROOT / "inception_fast"


class Back(NamedTuple):
    """What comes back: the folder, what was printed, and the digest of the sources."""

    folder: Path
    printed: str
    digest: str


@pytest.fixture(scope="module")
def brought_back(tmp_path_factory: pytest.TempPathFactory) -> Back:
    """From a dry run."""
    if not build_info().native.built:
        pytest.skip(build_info().native.reason)
    bare, output = tmp_path_factory.mktemp("bare"), tmp_path_factory.mktemp("brought") / "back"
    skipped = shutil.ignore_patterns("*.so", "_build_info.json", "__pycache__", "results")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, bare / folder, ignore=skipped)
    for name in FILES:
        shutil.copy2(ROOT / name, bare)
    digest = source_digest(bare)
    assert not (bare / ".git").exists() and digest == source_digest(ROOT)
    planted = ["fails=60=fail=on purpose", "hangs=4=hang"]
    words = ["--dry-run", "--output", str(output), "--modules", str(PACKAGE), "--seconds", str(LONGEST)]
    # What an outer process had chosen is the outer one's.
    outer = ("TRITON_", "INCEPTION_FAST_", "CMAKE_ARGS", "PYTEST_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    environment |= {"PIP_NO_INDEX": "1", "INCEPTION_FAST_COMMIT": "f" * 40}
    command = [sys.executable, "-m", "tests.bench.planted_visit", *planted, "--whole", "--", *words]
    visit = subprocess.run(command, cwd=bare, env=environment, stdout=subprocess.PIPE, text=True)
    assert visit.returncode == 1, "two parts were planted to fail"
    assert source_digest(bare) == digest
    return Back(output, visit.stdout, digest)


@pytest.fixture(scope="module")
def lines(brought_back: Back) -> list[dict[str, Any]]:
    return read_lines(brought_back.folder / "results-1.jsonl")


def test_every_part_has_an_outcome_and_only_the_planted_fail(brought_back: Back) -> None:
    journal = json.loads((brought_back.folder / "journal-1.json").read_text())
    outcomes = {name: part["outcome"] for name, part in journal["parts"].items()}
    assert outcomes.pop("fails") == FAILED and outcomes.pop("hangs") == STOPPED
    assert set(outcomes) == {part.name for part in FIRST}
    wrong = {name: journal["parts"][name]["reason"] for name, o in outcomes.items() if o not in (HELD, SKIPPED)}
    assert not wrong
    reasons = [part["reason"] for part in journal["parts"].values() if part["outcome"] == SKIPPED]
    assert all(reasons)
    assert {"environment", "build", "networks", "correctness", "timing", "device_tests", "torch_compile"} <= {
        name for name, outcome in outcomes.items() if outcome == HELD
    }


def test_what_comes_back_fits(brought_back: Back) -> None:
    files = list(brought_back.folder.rglob("*"))
    assert len(files) <= MOST_FILES and all(path.is_file() for path in files)
    assert max(path.stat().st_size for path in files) <= LARGEST
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", path.name) for path in files)


def test_every_line_is_json_and_says_of_which_sources(brought_back: Back) -> None:
    text = (brought_back.folder / "results-1.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in text]
    assert {line["digest"] for line in found} == {brought_back.digest}
    assert {line["commit"] for line in found} == {"f" * 40}


def test_all_drivers_and_triton_are_right_and_give_their_bits(lines: list[dict[str, Any]]) -> None:
    cases = cases_of(lines, "correctness")
    for contestant in ("stage", "pair", "network", "triton"):
        for case in (f"{contestant}-{p}-batch{b}" for p in ("fp16", "fp32") for b in (1, 2)):
            assert cases[case]["outcome"] == HELD, cases[case]
            assert cases[case]["error"]["relative_l2"] <= cases[case]["bound"]
    groups = {precision: cases[f"same-bits-{precision}"]["groups"] for precision in ("fp16", "fp32")}
    assert [len(by_bits) for by_bits in groups.values()] == [1, 1]
    compared = [name for names in groups["fp16"].values() for name in names]
    assert {"stage-fp16-batch1", "network-fp16-batch2", "pair-overlap0-fp16-batch1"} <= set(compared)


def test_the_contests_make_a_table(brought_back: Back) -> None:
    file = brought_back.folder / "bench-1-drivers.json"
    record = json.loads(file.read_text())
    assert [contest["batch"] for contest in record["contests"]] == [1, 2]
    names = [row["name"] for row in record["contests"][0]["rows"]]
    assert {"inception_fast cuda network", "inception_fast triton", "eager channels_last"} <= set(names)
    assert "commit ffffffffffff" in results_table([file])


def test_the_last_words_are_the_parts(brought_back: Back) -> None:
    printed = brought_back.printed
    assert len(printed) < 12_000
    end = printed[printed.rindex("part  ") :] if "part  " in printed else printed
    assert all(f"\n{part.name} " in end for part in FIRST)
