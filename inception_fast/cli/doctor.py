"""Say what was built, what is available, why the rest is not, and what to do about it."""

from __future__ import annotations

import argparse
import importlib
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import metadata

from inception_fast._build_info import BuildInfo, Part, build_info, package_version
from inception_fast.cli import machine
from inception_fast.cli.output import write_json
from inception_fast.cli.table import render_table

OK, MISSING, BROKEN = "ok", "missing", "BROKEN"
OLDEST_TORCH = (2, 11)
OPTIONAL_PACKAGES = ("torchvision", "timm", "scikit-image", "scikit-learn", "onnxruntime", "openvino")
BACKEND_ADVICE = {
    "cpu": "make the C++ part available (see above)",
    "triton": "use a machine with a CUDA device, or set TRITON_INTERPRET=1 to run its kernels slowly on the CPU",
    "cuda": "use a machine with a CUDA device of sm_80 or later, or set INCEPTION_FAST_EMULATE=1 to run its kernels "
    "in the emulator",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report. What is ``missing`` is optional; what is ``BROKEN`` makes the exit status 1."""

    item: str
    state: str
    detail: str
    advice: str = ""


def check_build(info: BuildInfo) -> list[Finding]:
    """The compiled parts, as the build recorded them and as they import now."""
    instruction_sets = ", ".join(("baseline", *info.instruction_sets))
    architectures = ", ".join(info.cuda_architectures)
    return [
        _check_part("C++ part", "_native", info.native, f"{info.compiler}; {info.machine}: {instruction_sets}"),
        _check_part("CUDA part", "_native_cuda", info.cuda, f"nvcc {info.nvcc}; architectures {architectures}"),
    ]


def _check_part(item: str, module: str, part: Part, detail: str) -> Finding:
    if not part.built:
        return Finding(item, MISSING, part.reason, part.advice)
    again = "install the package again"
    try:
        version = importlib.import_module(f"inception_fast.{module}").version
    except ImportError as error:
        return Finding(item, BROKEN, f"built, but does not import: {error}", again)
    if version != package_version():
        return Finding(item, BROKEN, f"built for version {version}, the package is {package_version()}", again)
    return Finding(item, OK, detail)


def check_backends() -> list[Finding]:
    """Every backend that could be chosen, and whether it runs here."""
    from inception_fast.backends import backends

    return [
        Finding(name, OK, "") if found.available else Finding(name, MISSING, found.reason, BACKEND_ADVICE.get(name, ""))
        for name, found in backends().items()
    ]


def check_versions() -> list[Finding]:
    """Python and the packages that matter."""
    import torch

    release = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    cuda = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    torch_detail = f"{torch.__version__}, {cuda}"
    findings = [
        Finding("python", OK, platform.python_version()),
        Finding("torch", OK, torch_detail)
        if release >= OLDEST_TORCH
        else Finding("torch", BROKEN, torch_detail, "install torch 2.11 or later"),
        _check_package("numpy", "install numpy"),
        _check_package("triton", "install triton for GPU kernels; its wheels are for Linux"),
    ]
    return findings + [_check_package(name, f"pip install {name}") for name in OPTIONAL_PACKAGES]


def _check_package(name: str, advice: str) -> Finding:
    try:
        return Finding(name, OK, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, MISSING, "not installed", advice)


def check_machine() -> list[Finding]:
    """Processor, cores and GPUs."""
    import torch

    sets = machine.instruction_sets()
    quota = machine.cpu_quota()
    cores = f"{machine.usable_cores()} usable, PyTorch takes {torch.get_num_threads()} threads"
    driver = machine.nvidia_driver()
    findings = [
        Finding("processor", OK, machine.cpu_model()),
        Finding("instruction sets", OK, "not known on this system" if sets is None else ", ".join(sets) or "baseline"),
        Finding("cores", OK, cores if quota is None else f"{cores}, container limit {quota:g}"),
        Finding("driver", OK, f"NVIDIA {driver}") if driver else Finding("driver", MISSING, "no NVIDIA driver"),
    ]
    gpus = machine.gpus()
    if driver and not gpus:
        advice = "install a PyTorch built for a CUDA that the driver supports, and look at CUDA_VISIBLE_DEVICES"
        return [*findings, Finding("GPU", MISSING, "PyTorch sees none in spite of the driver", advice)]
    return findings + [Finding(f"GPU {i}", OK, gpu) for i, gpu in enumerate(gpus)]


def print_report(title: str, sections: dict[str, list[Finding]]) -> None:
    print(title)
    for name, findings in sections.items():
        print("\n" + render_table((name, "state", "detail"), [(f.item, f.state, f.detail) for f in findings]))
    to_do = [f for f in _all(sections) if f.state != OK and f.advice]
    if to_do:
        print("\n" + render_table(("missing", "what to do"), [(f.item, f.advice) for f in to_do]))


def _all(sections: dict[str, list[Finding]]) -> Iterable[Finding]:
    return (finding for findings in sections.values() for finding in findings)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser


def run(args: argparse.Namespace) -> int:
    info = build_info()
    sections = {
        "built": check_build(info),
        "backend": check_backends(),
        "version": check_versions(),
        "machine": check_machine(),
    }
    commit = f", built from commit {info.commit[:12]}" if info.commit else ""
    print_report(f"inception-fast {package_version()}{commit}", sections)
    healthy = all(finding.state != BROKEN for finding in _all(sections))
    payload = {name: {f.item: asdict(f) for f in findings} for name, findings in sections.items()}
    write_json(args.json, {"healthy": healthy, "build": asdict(info), **payload})
    return 0 if healthy else 1
