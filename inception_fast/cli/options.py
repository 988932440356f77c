"""Arguments that subcommands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MODELS_HELP = (
    "a reference model (inception_v3, ...), torchvision/NAME, timm/NAME, facenet-pytorch/InceptionResnetV1, the path "
    "of an .onnx file, or module:function that returns an nn.Module; default: inception_v3"
)


THREADS_PER_PROCESSOR = 4
"""More only make each other wait."""


def positive(text: str) -> int:
    """A whole number above zero."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def new_file(text: str) -> Path:
    """A file to be written, refused before the work is done where its folder does not exist."""
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {path.parent} does not exist")
    return path


def add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", metavar="MODEL", nargs="*", help=MODELS_HELP)
    parser.add_argument("--all", action="store_true", help="all six reference models")


def add_target(parser: argparse.ArgumentParser) -> None:
    """Image size, device and threads."""
    parser.add_argument("--size", type=positive, metavar="PIXELS", help="side of the images; default: the model's own")
    parser.add_argument("--device", help="cpu or cuda; default: a GPU where there is one")
    parser.add_argument("--threads", type=positive, help="inside an operator, on the CPU; default: PyTorch's choice")


def add_precisions(parser: argparse.ArgumentParser, default: str) -> None:
    names = "fp32, tf32, fp16, bf16 or int8"
    parser.add_argument("--precision", action="append", metavar="P", help=f"{names}; repeatable; default: {default}")


def add_backends(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--backend", action="append", metavar="NAME", help=f"repeatable; default: {default}")


def device_of(args: argparse.Namespace) -> torch.device:
    """The device asked for, or a GPU where there is one; sets PyTorch's threads besides.

    Raises:
        InputError: the device is not here, or the threads are far more than the processors.
    """
    import torch

    from inception_fast.cli.machine import usable_cores
    from inception_fast.errors import InputError

    if args.threads:
        processors = usable_cores()
        most = THREADS_PER_PROCESSOR * processors
        if args.threads > most:
            expected = f"at most {most}, {THREADS_PER_PROCESSOR} for each of the {processors} processors available"
            raise InputError("--threads", args.threads, expected)
        torch.set_num_threads(args.threads)
    name = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError("--device", repr(name), f"a device that PyTorch can use here ({error})") from error
    return device


def precisions_of(args: argparse.Namespace, default: tuple[str, ...]) -> tuple[str, ...]:
    """The precisions asked for.

    Raises:
        InputError: one is unknown.
    """
    from inception_fast.precision import check_precision

    chosen = tuple(dict.fromkeys(args.precision or default))
    for precision in chosen:
        check_precision(precision)
    return chosen


def backends_of(args: argparse.Namespace, device: torch.device, *, reference: bool) -> list[str]:
    """The backends asked for, or all that can run on the device, the best first.

    Args:
        reference: whether the slow readable one is among them by default.

    Raises:
        InputError: one is unknown.
    """
    from inception_fast.backends import backends, get_backend, select_backend

    if args.backend:
        chosen = [select_backend("auto", device, "fp32").name if name == "auto" else name for name in args.backend]
        for name in chosen:
            get_backend(name)
        return list(dict.fromkeys(chosen))
    here = [n for n, found in backends().items() if found.available and device.type in get_backend(n).devices()]
    best = select_backend("auto", device, "fp32").name
    ordered = [best, *(name for name in here if name != best)]
    return [name for name in ordered if reference or name != "reference"]
