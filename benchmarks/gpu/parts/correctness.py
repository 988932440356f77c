"""The whole network against float64, and the same bits: over repeats, batches, drivers and overlapping launches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import product
from typing import Any

import torch

from benchmarks.gpu.networks import Truth, device_of, fast_model, takes_options, target_of, task_of
from benchmarks.gpu.setting import DRIVERS
from benchmarks.gpu.worker import Skip, Visit, main
from inception_fast.bench.accuracy import allowed, compare, flatten, within
from inception_fast.bench.contest import eager_error
from inception_fast.bench.record import jsonable
from inception_fast.errors import BackendUnavailableError
from inception_fast.fast_model import FastModel

REPEATS = 3


def run(visit: Visit) -> None:
    setting = visit.setting
    models: dict[tuple[str, str, str], FastModel] = {}

    def model(contestant: str, precision: str, options: str = "") -> FastModel:
        key = (contestant, precision, options)
        if key not in models:
            try:
                models[key] = fast_model(visit.work, setting, contestant, precision, options)
            except BackendUnavailableError as error:
                raise Skip(str(error)) from error
        return models[key]

    def whole(precision: str) -> None:
        visit.case(f"eager-{precision}", lambda: eager(visit, precision), 30)
        for batch, contestant in product(setting.checked_batches, (*DRIVERS, "triton")):
            visit.case(
                f"{contestant}-{precision}-batch{batch}",
                lambda c=contestant, b=batch: against_truth(visit, precision, b, lambda: model(c, precision)),
                25,
            )

    first, batches = setting.precisions[0], setting.checked_batches
    whole(first)
    for driver, overlap in product(DRIVERS[:2], (0, 1)):
        visit.case(
            f"{driver}-overlap{overlap}-{first}-batch{batches[0]}",
            lambda d=driver, o=overlap: overlapping(visit, lambda: model(d, first, f"overlap={o}")),
            15,
        )
    visit.case(f"same-bits-{first}", lambda: same_bits(visit, first), 10)
    for precision in setting.precisions[1:]:
        # Their graphs hold a forward pass of each batch size.
        models.clear()
        whole(precision)
        visit.case(f"same-bits-{precision}", lambda p=precision: same_bits(visit, p), 10)


def eager(visit: Visit, precision: str) -> dict[str, Any]:
    """The error of PyTorch eager, which ours is measured by."""
    truth = Truth.load(visit.work)
    return {
        "error": jsonable(
            eager_error(task_of(visit.setting, target_of(visit.setting), truth, precision), truth.outputs)
        )
    }


def against_truth(visit: Visit, precision: str, batch: int, make: Callable[[], FastModel]) -> dict[str, Any]:
    """The error of some equal passes, and their bits."""
    truth, fast = Truth.load(visit.work).batch(batch), make()
    dtype = getattr(torch, fast.plan.io_dtype)
    x = truth.images.to(device_of(visit.setting), dtype).contiguous(memory_format=torch.channels_last)
    results = [fast.run_flat(x) for _ in range(REPEATS)]
    bits = {digest(result) for result in results}
    yardstick = visit.figures().get(f"eager-{precision}", {}).get("error", {}).get("relative_l2")
    if yardstick is None:
        raise ValueError(f"the error of eager in {precision} is not known")
    error, bound = compare(flatten(results[0]), truth.outputs), allowed(precision, yardstick)
    wrong = [] if within(error, bound) else [f"relative L2 {error.relative_l2:.2e}, allowed {bound:.2e}"]
    wrong += [f"{len(bits)} different results in {REPEATS} passes"] if len(bits) > 1 else []
    one = digest([tensor[:1] for tensor in results[0]])
    _, executor = fast.executor_for(x.device)
    return {
        "driver": executor.driver,
        "error": jsonable(error),
        "bound": bound,
        "bits": digest(results[0]),
        "bits_of_first_image": one,
        "wrong": "; ".join(wrong),
    }


def overlapping(visit: Visit, make: Callable[[], FastModel]) -> dict[str, Any]:
    """The smallest batch once more, with options of the ``cuda`` backend."""
    if not takes_options():
        raise Skip("the cuda backend takes no options")
    precision, batch = visit.setting.precisions[0], visit.setting.checked_batches[0]
    return against_truth(visit, precision, batch, make)


def same_bits(visit: Visit, precision: str) -> dict[str, Any]:
    """Whether the ``cuda`` backend's cases of a precision agree in the first image, whatever the batch."""
    groups: dict[str, list[str]] = {}
    for name, line in visit.figures().items():
        driver, _, rest = name.partition("-")
        if driver in DRIVERS and precision in rest.split("-") and "bits_of_first_image" in line:
            groups.setdefault(line["bits_of_first_image"], []).append(name)
    if not groups:
        raise Skip("the cuda backend did not run")
    sets = " | ".join(", ".join(names) for names in groups.values())
    return {"groups": groups, "wrong": sets if len(groups) > 1 else ""}


def digest(tensors: list[torch.Tensor]) -> str:
    """Of the bits of tensors, in the order of their indices."""
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()[:16]


if __name__ == "__main__":
    main(run)
