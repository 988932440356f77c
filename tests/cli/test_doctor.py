"""``inception-fast doctor``: reasons and remedies reach the reader, and only what is broken fails."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from inception_fast._build_info import NEVER_BUILT, BuildInfo, Part, build_info, package_version, parse_build_info
from inception_fast.backends.base import Availability
from inception_fast.cli import doctor, machine
from inception_fast.cli.doctor import BROKEN, MISSING, OK, Finding
from inception_fast.cli.main import main

BUILT = Part(True, "", "")
NO_NVCC = Part(False, "no working nvcc was found", "install the CUDA toolkit")
INFO = BuildInfo("1.0", "0123456789abcdef", "x86_64", "GNU 12.2.0", ("avx2", "avx512"), None, (), BUILT, NO_NVCC)


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands in for the compiled module, of the package's own version."""
    module = SimpleNamespace(version=package_version())
    monkeypatch.setattr(doctor.importlib, "import_module", lambda name: module)
    return module


def test_this_installation_is_healthy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "doctor.json"
    assert main(["doctor", "--json", str(path)]) == 0
    report = capsys.readouterr().out
    payload = json.loads(path.read_text())
    assert payload["healthy"] is True
    assert payload["backend"]["reference"]["state"] == payload["backend"]["torch"]["state"] == OK
    assert payload["version"]["torch"]["detail"].startswith(torch.__version__)
    for section in ("built", "backend", "version", "machine"):
        for finding in payload[section].values():
            assert finding["item"] in report and finding["detail"] in report


def test_what_was_recorded_at_build_time_imports_now() -> None:
    info = build_info()
    states = {finding.item: finding.state for finding in doctor.check_build(info)}
    assert states == {
        "C++ part": OK if info.native.built else MISSING,
        "CUDA part": OK if info.cuda.built else MISSING,
    }


@pytest.mark.usefixtures("native")
def test_a_part_that_was_not_built_gives_reason_and_advice() -> None:
    built, missing = doctor.check_build(INFO)
    assert built == Finding("C++ part", OK, "GNU 12.2.0; x86_64: baseline, avx2, avx512")
    assert missing == Finding("CUDA part", MISSING, NO_NVCC.reason, NO_NVCC.advice)


def test_a_stale_module_is_broken(native: SimpleNamespace) -> None:
    native.version = "0.0.0-other"
    assert doctor.check_build(INFO)[0].state == BROKEN
    assert "built for version 0.0.0-other" in doctor.check_build(INFO)[0].detail


def test_a_module_that_does_not_import_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError("libstdc++.so.6: version not found")

    monkeypatch.setattr(doctor.importlib, "import_module", fail)
    finding = doctor.check_build(INFO)[0]
    assert finding.state == BROKEN and "libstdc++" in finding.detail and finding.advice


def test_a_source_tree_that_was_never_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = doctor.check_build(parse_build_info({}))
    assert [finding.state for finding in findings] == [MISSING, MISSING]
    assert findings[0].detail == NEVER_BUILT


def test_reason_and_remedy_of_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"torch": Availability(True), "cuda": Availability(False, "no CUDA device")}
    # By module, since the package's attribute of that name is the function.
    monkeypatch.setattr(sys.modules["inception_fast.backends"], "backends", lambda: found)
    torch_backend, cuda_backend = doctor.check_backends()
    assert torch_backend == Finding("torch", OK, "")
    assert (cuda_backend.state, cuda_backend.detail) == (MISSING, "no CUDA device")
    assert "INCEPTION_FAST_EMULATE=1" in cuda_backend.advice


@pytest.mark.parametrize(("version", "state"), [("2.10.1", BROKEN), ("2.11.0+cpu", OK), ("3.0.0a0+git1", OK)])
def test_torch_that_is_too_old_is_broken(monkeypatch: pytest.MonkeyPatch, version: str, state: str) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    (finding,) = [f for f in doctor.check_versions() if f.item == "torch"]
    assert finding.state == state
    assert bool(finding.advice) == (state == BROKEN)


def test_a_broken_part_fails_and_a_missing_one_does_not(
    monkeypatch: pytest.MonkeyPatch, native: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "build_info", lambda: INFO)
    for check in ("check_backends", "check_versions", "check_machine"):
        monkeypatch.setattr(doctor, check, lambda: [Finding("probe", OK, "")])
    assert doctor.run(SimpleNamespace(json=None)) == 0
    report = capsys.readouterr().out
    assert "built from commit 0123456789ab\n" in report
    assert "no working nvcc was found" in report and "install the CUDA toolkit" in report

    native.version = "other"
    assert doctor.run(SimpleNamespace(json=None)) == 1


def test_driver_without_a_visible_gpu_gets_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "nvidia_driver", lambda: "580.1")
    monkeypatch.setattr(machine, "gpus", lambda: [])
    finding = doctor.check_machine()[-1]
    assert finding.state == MISSING and "CUDA_VISIBLE_DEVICES" in finding.advice


@pytest.mark.parametrize(("text", "cores"), [("max 100000\n", None), ("150000 100000\n", 1.5)])
def test_container_limit(tmp_path: Path, text: str, cores: float | None) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(text)
    assert machine.cpu_quota(path) == cores
    assert machine.cpu_quota(tmp_path / "absent") is None


def test_instruction_sets_are_whole_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: Probe 9000\nflags\t\t: sse2 avx2x avx512f avx512_bf16\n\nflags\t: other\n")
    monkeypatch.setattr(machine, "CPUINFO", path)
    assert machine.cpu_model() == "Probe 9000"
    assert machine.instruction_sets() == ("avx512f", "avx512_bf16")
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "absent")
    assert machine.instruction_sets() is None
    assert machine.cpu_model()


def test_record_round_trip() -> None:
    record = {
        "version": "1.0",
        "commit": None,
        "machine": "x86_64",
        "compiler": "Clang 18.1",
        "instruction_sets": "avx2;avx512",
        "cuda": {"built": True, "reason": "", "advice": "", "nvcc": "13.0", "architectures": "80;90a-real"},
        "native": {"built": True, "reason": "", "advice": ""},
    }
    info = parse_build_info(record)
    assert info == replace(
        INFO, commit=None, compiler="Clang 18.1", nvcc="13.0", cuda_architectures=("80", "90a-real"), cuda=BUILT
    )
