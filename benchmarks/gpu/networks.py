"""The network of a visit, made once: its truth in float64, and an engine file for each backend and precision."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from benchmarks.gpu.setting import Setting
from inception_fast import load
from inception_fast.backends.cuda_graph import with_index
from inception_fast.bench.peers import Task
from inception_fast.bench.targets import Target, load_target, repeat
from inception_fast.fast_model import FastModel
from inception_fast.photos import PhotosUnavailableError, load_photos

BACKENDS = ("cuda", "triton")
DRIVER, OPTIONS = "INCEPTION_FAST_CUDA_DRIVER", "INCEPTION_FAST_CUDA_OPTIONS"


def target_of(setting: Setting) -> Target:
    """The model, on the CPU; where there are no photographs, its activations are kept alive by noise."""
    return load_target(setting.model, setting.size, random=not photographs())


@cache
def photographs() -> bool:
    """Whether all of them are here."""
    try:
        load_photos(1)
    except PhotosUnavailableError:
        return False
    return True


def engine_path(work: Path, backend: str, precision: str) -> Path:
    """Of an engine file."""
    return work / f"{backend}-{precision}.ifast"


@dataclass(frozen=True)
class Truth:
    """Different images and what the model makes of them.

    Attributes:
        images: ``[N, 3, H, W]`` float32 on the CPU.
        outputs: in float64.
    """

    images: torch.Tensor
    outputs: list[torch.Tensor]

    def save(self, work: Path) -> None:
        torch.save({"images": self.images, "outputs": self.outputs}, work / "truth.pt")

    @staticmethod
    def load(work: Path) -> Truth:
        return Truth(**torch.load(work / "truth.pt", weights_only=True))

    def batch(self, count: int) -> Truth:
        """The images over and over, ``count`` of them."""
        return Truth(repeat(self.images, count), [repeat(t, count) for t in self.outputs])


def device_of(setting: Setting) -> torch.device:
    """By its number, as tensors on it name it: an executor is made for one name, and made anew for another."""
    return with_index(torch.device(setting.device)) if setting.on_gpu else torch.device(setting.device)


def task_of(setting: Setting, target: Target, truth: Truth, precision: str) -> Task:
    """The forward pass of the truth's images."""
    return Task(target.model, truth.images, precision, device_of(setting), torch.get_num_threads())


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables that are set within."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def fast_model(work: Path, setting: Setting, contestant: str, precision: str, options: str = "") -> FastModel:
    """Ours, ready to run.

    Args:
        contestant: ``triton``, or a driver of the ``cuda`` backend.
        options: of the ``cuda`` backend, as its environment variable takes them.
    """
    backend = "triton" if contestant == "triton" else "cuda"
    chosen = {DRIVER: contestant, OPTIONS: options} if backend == "cuda" else {}
    with environment(chosen):
        return load(engine_path(work, backend, precision), backend=backend, device=device_of(setting))


def takes_options() -> bool:
    """Whether the ``cuda`` backend reads its options from the environment."""
    from inception_fast.backends import cuda

    return OPTIONS in vars(cuda).values()
