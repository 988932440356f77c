"""What is to be run on a GPU: a list of jobs for each part, the most telling first.

``checks`` are the tests and compute-sanitizer, ``headline`` the figures that the project's targets are about,
``latency`` the drivers of the ``cuda`` backend at small batches, ``sweep`` every batch size, ``families`` every
network, ``kernels`` the time of each layer.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from inception_fast import list_models
from inception_fast.cli.bench import PEER_NAMES

PARTS = ("checks", "headline", "latency", "sweep", "families", "kernels")
DEFAULT_PARTS = ("checks", "headline", "latency")
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
ALL_BATCHES = (1, 128, 8, 32, 2, 4, 16, 64, 256)
"""The ends first: a run that is cut short has the two figures that say most."""
GPU_PEERS = tuple(
    name
    for name in PEER_NAMES
    if name not in ("onnxruntime", "openvino") and (name not in ("jax", "cudnn") or importlib.util.find_spec(name))
)
"""Those that run on a GPU and are installed: a job fails where a peer that it names is not there."""
MODEL = "inception_v3"


@dataclass(frozen=True)
class Job:
    """One process.

    Attributes:
        name: of its files.
        command: with its arguments; ``{folder}`` stands for the folder of the results.
        minutes: after which it is stopped.
        environment: variables besides those that are set already.
    """

    name: str
    command: tuple[str, ...]
    minutes: float
    environment: Mapping[str, str] = field(default_factory=dict)


def jobs_of(parts: Sequence[str]) -> list[Job]:
    """The jobs of some parts, in the order of :data:`PARTS`."""
    return [job for part in PARTS if part in parts for job in _PARTS[part]()]


def dry_jobs() -> list[Job]:
    """One job of each kind, cut down to what a CPU does in seconds."""
    small = (MODEL, "--device", "cpu", "--size", "79", "--threads", "1", "--batch", "1")
    ours = ("--backend", "torch", "--precision", "fp32")
    contest = ("--rounds", "2", "--peer", "eager", "--seconds", "5")
    return [
        _ours("verify", "verify", *small, *ours, minutes=3),
        _ours(f"bench-{MODEL}-fp32-1", "bench", *small, *ours, *contest, minutes=3),
        _ours("kernels-1", "kernels", *small, "--rounds", "1", "--filter", "1x7", minutes=3),
        Job("forward", (*_forward(), MODEL, "--device", "cpu", "--size", "79", "--backend", "torch"), 3),
    ]


def _ours(name: str, *words: str, minutes: float, **environment: str) -> Job:
    command = (sys.executable, "-m", "inception_fast", *words, "--json", f"{{folder}}/{name}.json")
    return Job(name, command, minutes, environment)


def _forward() -> tuple[str, ...]:
    return sys.executable, "-m", "benchmarks.gpu.forward"


def _contest(name: str, model: str, precision: str, batch: int, *words: str, peers: Sequence[str], **env: str) -> Job:
    chosen = tuple(word for peer in peers for word in ("--peer", peer))
    settings = (
        "--device",
        "cuda",
        "--precision",
        precision,
        "--batch",
        str(batch),
        "--rounds",
        "100",
        "--seconds",
        "20",
    )
    return _ours(f"bench-{name}", "bench", model, *settings, *words, *chosen, minutes=6, **env)


def _checks() -> Iterator[Job]:
    pytest = (sys.executable, "-m", "pytest", "-q", "-m", "gpu")
    # Most of their time is the compiler's.
    side_by_side = ("--numprocesses", "8") if importlib.util.find_spec("xdist") else ()
    yield Job("tests", (*pytest, *side_by_side, "tests"), 8)
    for tool in SANITIZERS:
        # An allocation of its own for every tensor: a pool would hide what lies one past the end.
        alone = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        found = shutil.which("compute-sanitizer") or "compute-sanitizer"
        command = (found, "--tool", tool, "--error-exitcode", "1", *pytest, "tests/backends/test_on_device.py")
        yield Job(f"sanitizer-{tool}", command, 5, alone)


def _headline() -> Iterator[Job]:
    yield _ours("tune", "tune", MODEL, "--precision", "fp16", "--batch", "1", "--batch", "128", minutes=2)
    every = tuple(word for precision in ("fp16", "bf16", "tf32", "fp32") for word in ("--precision", precision))
    yield _ours("verify", "verify", MODEL, "--device", "cuda", *every, "--bisect", minutes=2)
    for precision, batches in {"fp16": (1, 128, 32, 8, 4), "bf16": (1, 128, 32, 8, 4)}.items():
        for batch in batches:
            name = f"{MODEL}-{precision}-{batch}"
            yield _contest(name, MODEL, precision, batch, peers=GPU_PEERS)


def _latency() -> Iterator[Job]:
    backends = ("--backend", "cuda", "--backend", "triton")
    for batch in (1, 2, 4, 8, 16):
        for driver in ("stage", "pair", "network"):
            name = f"{MODEL}-{driver}-{batch}"
            chosen = {"INCEPTION_FAST_CUDA_DRIVER": driver}
            yield _contest(name, MODEL, "fp16", batch, *backends, peers=("eager", "torch.compile"), **chosen)


def _sweep() -> Iterator[Job]:
    for precision in ("fp16", "bf16", "tf32"):
        batches = tuple(word for batch in ALL_BATCHES for word in ("--batch", str(batch)))
        yield _ours(f"tune-{precision}", "tune", MODEL, "--precision", precision, *batches, minutes=8)
        for batch in ALL_BATCHES:
            yield _contest(f"sweep-{MODEL}-{precision}-{batch}", MODEL, precision, batch, peers=GPU_PEERS)


def _families() -> Iterator[Job]:
    for batch in (1, 32):
        for model in list_models():
            yield _contest(f"families-{model}-fp16-{batch}", model, "fp16", batch, peers=GPU_PEERS)


def _kernels() -> Iterator[Job]:
    for backend in ("triton", "cuda"):
        for batch in (1, 128):
            on_gpu = ("--device", "cuda", "--backend", backend, "--precision", "fp16", "--batch", str(batch))
            yield _ours(f"kernels-{backend}-{batch}", "kernels", MODEL, *on_gpu, minutes=6)
            yield _ours(f"profile-{backend}-{batch}", "profile", MODEL, *on_gpu, minutes=2)
        # Clocks stay as they are: the machine may be shared.
        report = ("--clock-control", "none", "--profile-from-start", "off", "--section", "SpeedOfLight", "--csv")
        log = ("--log-file", f"{{folder}}/ncu-{backend}.csv")
        target = (*_forward(), MODEL, "--device", "cuda", "--backend", backend, "--precision", "fp16")
        yield Job(f"ncu-{backend}", (shutil.which("ncu") or "ncu", *report, *log, *target), 6)


_PARTS = {
    "checks": _checks,
    "headline": _headline,
    "latency": _latency,
    "sweep": _sweep,
    "families": _families,
    "kernels": _kernels,
}
