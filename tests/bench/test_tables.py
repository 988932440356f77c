"""The documents' figures are those of the recorded results, and the results are right ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.operators import DOCUMENT, operators_table
from benchmarks.tables import RESULTS, documents, filled, headline, results_table, standings, summary_table

FILES = sorted(RESULTS.glob("*/bench*.json"))


def _write(file: Path, *contests: dict[str, Any], commit: str = "0123456789abcdef", gpu: object = None) -> Path:
    environment = {
        "gpu": gpu,
        "cpu": {"model": "a processor"},
        "versions": dict.fromkeys(("torch", "onnxruntime", "openvino", "triton"), "1"),
        "commit": commit,
        "command": f"inception-fast bench {file.stem}",
    }
    device = "cuda:0" if gpu else "cpu"
    record = {"environment": environment, "device": device, "threads": 2, "contests": contests}
    file.write_text(json.dumps(record))
    return file


def _contest(model: str, *rows: str, batch: int = 1, milliseconds: float = 12.34) -> dict[str, Any]:
    figures = {"correct": True, "seconds": {"median": milliseconds / 1e3}, "ratio": {"median": 1.5}}
    named = [{"name": name, "ours": not index, **figures} for index, name in enumerate(rows)]
    return {"model": model, "batch": batch, "precision": "fp32", "rows": named}


def test_replays_have_columns_of_their_own(tmp_path: Path) -> None:
    contest = _contest("inception_v3", "ours", "eager", "jax")
    ours, eager, jax = contest["rows"]
    ours["replays"] = {"seconds": {"median": 2e-3}, "ratio": {"median": 1.0}}
    eager["replays"] = {"seconds": {"median": 6e-3}, "ratio": None}
    jax["replays"] = None
    text = results_table([_write(tmp_path / "bench.json", contest, gpu={"name": "a GPU"})])
    assert "| ours | ours, replay | eager | eager, replay | jax |" in text
    assert "| 12.3 (1.50) | 2 (1.00) | 12.3 (1.50) | 6 | 12.3 (1.50) |" in text
    assert "over its replays" in text
    assert "replay" not in results_table([_write(tmp_path / "bench.json", _contest("inception_v3", "ours"))])


def test_documents_quote_the_records() -> None:
    assert FILES
    for document, text in documents(FILES).items():
        assert document.read_text() == text, "run python -m benchmarks.tables"


def _ranked(precision: str = "fp32", milliseconds: float = 10.0, **ratios: float) -> dict[str, Any]:
    contest = _contest("inception_v3", "inception_fast cpu", *ratios, milliseconds=milliseconds)
    for row, ratio in zip(contest["rows"][1:], ratios.values(), strict=True):
        row["ratio"] = {"median": ratio}
    return {**contest, "precision": precision}


def test_summary_names_the_fastest_other_whose_result_is_right(tmp_path: Path) -> None:
    contest = _ranked(
        **{"eager contiguous": 3.0, "eager channels_last": 2.5, "torch.compile": 2.0, "wrong": 1.1, "peer": 1.25}
    )
    contest["rows"][4]["correct"] = False
    alone = _contest("googlenet", "inception_fast cpu")
    file = _write(tmp_path / "bench.json", contest, alone)
    assert summary_table([file]).splitlines()[2:] == [
        "| inception_v3 | fp32 | 1 | 10.0 | peer, 1.25x | 2.00x | 2.50x |",
    ]
    assert [s.others for s in standings([file])] == [
        (),
        (("peer", 1.25), ("torch.compile", 2.0), ("eager channels_last", 2.5), ("eager contiguous", 3.0)),
    ]


def test_headline_prefers_half_precision_and_leaves_out_who_did_not_run(tmp_path: Path) -> None:
    slow, fast = _ranked("fp32", eager=2.0), _ranked("fp16", 0.25, jax=1.5)
    single = _write(tmp_path / "bench-1.json", slow)
    assert headline([single]) == (
        "**Inception-v3, fp32, one image, a processor, 2 threads: 10.0 ms; "
        "the fastest other, eager, takes 2.00x as long, eager 2.00x.**"
    )
    both = [single, _write(tmp_path / "bench-2.json", fast, gpu={"name": "a GPU"})]
    assert headline(both) == (
        "**Inception-v3, fp16, one image, a GPU: 0.25 ms; the fastest other, jax, takes 1.50x as long.**"
    )


def test_every_recorded_result_of_ours_was_right() -> None:
    for file in FILES:
        for contest in json.loads(file.read_text())["contests"]:
            ours = [row["correct"] for row in contest["rows"] if row["ours"]]
            assert ours and all(ours), file.name


def test_table_has_a_cell_for_every_contestant(tmp_path: Path) -> None:
    file = _write(tmp_path / "bench.json", _contest("a", "x"), _contest("b", "y", batch=8))
    lines = results_table([file]).splitlines()
    assert "a processor, 2 threads; torch 1, onnxruntime 1, openvino 1; commit 0123456789ab, `inception" in lines[0]
    assert lines[2:] == [
        "| model | batch | precision | x | y |",
        "| --- | --- | --- | --- | --- |",
        "| a | 1 | fp32 | 12.3 (1.50) |  |",
        "| b | 8 | fp32 |  | 12.3 (1.50) |",
    ]


def test_files_of_one_run_share_a_table(tmp_path: Path) -> None:
    files = [_write(tmp_path / f"bench-{i}.json", _contest("a", "x", batch=i)) for i in range(3)]
    files.append(_write(tmp_path / "bench-other-commit.json", _contest("a", "x"), commit="fedcba9876543210"))
    files.append(_write(tmp_path / "bench-other-columns.json", _contest("a", "y")))
    sections = results_table(files).split("Median milliseconds")[1:]
    assert [section.count("\n| a |") for section in sections] == [3, 1, 1]
    assert f"commands in `benchmarks/results/{tmp_path.name}/`" in sections[0] and "`inception-fast" in sections[1]


def test_a_gpu_has_its_driver_and_digits_enough(tmp_path: Path) -> None:
    gpu = {"name": "NVIDIA H200", "driver_version": "580.1"}
    file = _write(tmp_path / "bench.json", _contest("a", "x", milliseconds=0.15555), gpu=gpu)
    lines = results_table([file]).splitlines()
    assert "; NVIDIA H200, driver 580.1; torch 1, triton 1; commit" in lines[0]
    assert lines[-1] == "| a | 1 | fp32 | 0.156 (1.50) |"


def test_a_wrong_result_is_called_wrong(tmp_path: Path) -> None:
    contest = _contest("a", "x", "y")
    contest["rows"][1]["correct"] = False
    lines = results_table([_write(tmp_path / "bench.json", contest)]).splitlines()
    assert lines[-1] == "| a | 1 | fp32 | 12.3 (1.50) | 12.3 (1.50, wrong result) |"


def test_the_operators_in_the_documents_are_those_of_the_rules() -> None:
    text = DOCUMENT.read_text()
    assert text == filled(text, operators_table(), "operators"), "run python -m benchmarks.operators"
    for name in ("conv2d", "softmax", "silu", "concatenate", "adaptive_max_pool2d"):
        assert f"`{name}`" in text
