"""``swap`` against ``optimize`` and PyTorch eager on whole models: ``python -m benchmarks.swapped``.

Models: torchvision's Inception-v3; the same with a hook on its last block; the same with a branch on values in its own
code, so that its parts are replaced one by one, and whose values are asked for before ``optimize`` too; and
torch-fidelity's extractor where that package is installed. Everything is run in turns in one process, image by image; a
row has medians in milliseconds, and the median over the rounds of the time over that of ``optimize``. Each result is
compared with PyTorch eager's first.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable
from unittest import mock

import torch
from torch import nn

import inception_fast as ifast
from inception_fast.cli.table import render_table
from inception_fast.models.calibration import calibrate_batchnorm, initialize
from inception_fast.photos import load_photos

CLOSE = 1e-4
"""Relative L2 distance to PyTorch eager's result, both in float32."""


def torchvision_v3() -> tuple[nn.Module, torch.Tensor]:
    from torchvision.models import inception_v3

    model = inception_v3(weights=None, init_weights=False, aux_logits=False, transform_input=False).eval()
    return live(model, load_photos((299, 299), 4)), load_photos((299, 299), 1)


def hooked_v3() -> tuple[nn.Module, torch.Tensor]:
    model, images = torchvision_v3()
    model.Mixed_7c.register_forward_hook(lambda *_: None)
    return model, images


def branching_v3() -> tuple[nn.Module, torch.Tensor]:
    """Nothing of its own code can be captured."""
    model, images = torchvision_v3()
    kind = type(model)

    def forward(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        check_finite(x)
        return kind.forward(self, x)

    model.__class__ = type("Branching", (kind,), {"forward": forward})
    return model, images


def check_finite(x: torch.Tensor) -> None:
    if not x.isfinite().all():
        raise ValueError("not finite")


def fidelity() -> tuple[nn.Module, torch.Tensor]:
    import torch_fidelity.feature_extractor_inceptionv3 as package

    # It insists on loading weights.
    with (
        mock.patch.object(package, "load_state_dict_from_url", lambda *_, **__: {}),
        mock.patch.object(nn.Module, "load_state_dict", lambda *_, **__: None),
    ):
        model = package.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    images = ((load_photos((299, 299), 4) + 1) * 127.5).round().to(torch.uint8)
    return live(model, images), images[:1]


MODELS = {
    "torchvision v3": torchvision_v3,
    "v3 with a hook": hooked_v3,
    "v3 in parts": branching_v3,
    "torch-fidelity": fidelity,
}


def live(model: nn.Module, images: torch.Tensor) -> nn.Module:
    """The model with weights that keep activations alive."""
    initialize(model, 0)
    calibrate_batchnorm(model, images)
    return model.eval()


def ways(model: nn.Module, images: torch.Tensor) -> dict[str, Callable[[], torch.Tensor]]:
    """What is compared, by name; ``optimize`` takes the model without its hooks, and without its branch, which is
    taken before.
    """
    swapped, in_channels_last = copy.deepcopy(model), copy.deepcopy(model).to(memory_format=torch.channels_last)
    bare = copy.deepcopy(model)
    for module in bare.modules():
        module._forward_hooks.clear()
    branches = type(bare).__name__ == "Branching"
    if branches:
        bare.__class__ = type(bare).__base__
    print(str(ifast.swap(swapped, images)).partition("\n")[0])
    fast = ifast.optimize(bare, images)
    last = images.contiguous(memory_format=torch.channels_last)

    def optimized() -> torch.Tensor:
        if branches:
            check_finite(images)
        return fast(images)

    return {
        "optimize": optimized,
        "swap": lambda: swapped(images),
        "swap, channels_last": lambda: swapped(last),
        "eager": lambda: model(images),
        "eager, channels_last": lambda: in_channels_last(last),
    }


def check(results: dict[str, torch.Tensor]) -> None:
    true = results["eager"]
    for name, result in results.items():
        distance = ((result - true).norm() / true.norm()).item()
        if not distance <= CLOSE:
            raise SystemExit(f"{name}: {distance:.1e} from PyTorch eager's result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}; all by default")
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    unknown = set(args.models) - set(MODELS)
    if unknown:
        parser.error(f"no model {unknown.pop()!r}")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = []
    for name in args.models or MODELS:
        try:
            model, images = MODELS[name]()
        except ImportError as error:
            print(f"{name} is left out: {error}")
            continue
        rows += measured(name, ways(model, images), args.rounds)
    print(render_table(["model", "way", "ms", "over optimize"], rows))


@torch.inference_mode()
def measured(name: str, runs: dict[str, Callable[[], torch.Tensor]], rounds: int) -> list[list[str]]:
    flat = {way: torch.utils._pytree.tree_leaves(run())[0] for way, run in runs.items()}
    check(flat)
    times: dict[str, list[float]] = {way: [] for way in runs}
    for _ in range(rounds):
        for way, run in runs.items():
            start = time.perf_counter()
            run()
            times[way].append(time.perf_counter() - start)
    rows = []
    for way, taken in times.items():
        ratio = statistics.median(t / base for t, base in zip(taken, times["optimize"], strict=True))
        rows.append([name, way, f"{1e3 * statistics.median(taken):.1f}", f"{ratio:.2f}"])
    return rows


if __name__ == "__main__":
    main()
