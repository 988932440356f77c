"""``precision='int8'``: every family near the network it came from, on kernels that give the reference's bits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.backends import get_backend, names
from inception_fast.bench.accuracy import INT8_ERROR, compare, flatten, true_outputs
from inception_fast.models import create_model, list_models
from inception_fast.photos import NAMES, load_photos
from inception_fast.plan.plan import ConvStep
from tests.backends.test_families import SIZES
from tests.integrations.networks import network, photos

QUICK = ("googlenet", "inception_resnet_v1")
FAMILIES = [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in list_models()]


@pytest.fixture(scope="module")
def quantized() -> Callable[[str], tuple[nn.Module, ifast.FastModel, torch.Tensor]]:
    """A family's network, its quantised form on the reference backend, and photographs that it has not seen."""
    made: dict[str, tuple[nn.Module, ifast.FastModel, torch.Tensor]] = {}

    def make(name: str) -> tuple[nn.Module, ifast.FastModel, torch.Tensor]:
        if name not in made:
            model, images = create_model(name), load_photos(SIZES.get(name, 79), len(NAMES) + 6)
            fast = ifast.optimize(model, images[4:], precision="int8", backend="reference")
            made[name] = model, fast, images[:4]
        return made[name]

    return make


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str, quantized: Callable[[str], tuple[nn.Module, ifast.FastModel, torch.Tensor]]) -> None:
    model, fast, images = quantized(name)
    assert compare(flatten(fast(images)), true_outputs(model, images)).relative_l2 <= INT8_ERROR


@pytest.mark.parametrize("name", FAMILIES)
def test_family_on_the_cpu_backend(
    name: str,
    quantized: Callable[[str], tuple[nn.Module, ifast.FastModel, torch.Tensor]],
) -> None:
    cpu = get_backend("cpu")
    if not cpu.availability().available:
        pytest.skip(cpu.availability().reason)
    _, fast, images = quantized(name)
    device = torch.device("cpu")
    executor = cpu.compile(fast.plan, fast.engine.constants, device=device, precision="int8")
    for got, want in zip(executor.run(images[:1]), fast.run_flat(images[:1]), strict=True):
        assert torch.equal(got.flatten(), want.flatten())


def test_structure_maps_and_files(tmp_path: object) -> None:
    """Outputs that later layers read come back as numbers, and a file holds everything."""
    model, images = network(), photos(6)
    fast = ifast.optimize(model, images, precision="int8", backend="reference")
    error = compare(flatten(fast(images)), true_outputs(model, images))
    assert error.relative_l2 <= INT8_ERROR
    fast.save(f"{tmp_path}/m.ifast")
    loaded = ifast.load(f"{tmp_path}/m.ifast", backend="reference")
    assert loaded.precision == "int8" and loaded.plan == fast.plan
    for a, b in zip(flatten(loaded(images)), flatten(fast(images)), strict=True):
        assert torch.equal(a, b)
    report = str(fast.report())
    assert "int8 weights" in report and "from 6 images" in report


def test_biases_make_up_for_rounding(
    quantized: Callable[[str], tuple[nn.Module, ifast.FastModel, torch.Tensor]],
) -> None:
    """Without what is taken off the biases, the error is larger."""
    model, fast, images = quantized("googlenet")
    plain = ifast.optimize(model, images, backend="reference")
    biases = {s.name: s.conv.bias for s in plain.plan.steps if isinstance(s, ConvStep)}
    constants = dict(fast.engine.constants)
    for step in fast.plan.steps:
        if isinstance(step, ConvStep):
            original, scale = biases[step.name], step.conv.scale
            assert step.conv.bias and scale and original
            unit = constants[scale] * fast.plan.buffers[step.source.buffer].scale
            constants[step.conv.bias] = (plain.engine.constants[original] / unit).round().to(torch.int32)
    device = torch.device("cpu")
    executor = get_backend("reference").compile(fast.plan, constants, device=device, precision="int8")
    truth = true_outputs(model, images)
    without = compare([result.flatten(1).double() for result in executor.run(images)], truth)
    assert compare(flatten(fast(images)), truth).relative_l2 < 0.8 * without.relative_l2


@pytest.mark.parametrize("backend", [name for name in names() if name not in ("cpu", "reference")])
def test_other_backends_refuse(backend: str) -> None:
    with pytest.raises(ifast.BackendUnavailableError):
        ifast.optimize(network(), photos(2), precision="int8", backend=backend)


def test_calibration_needs_images() -> None:
    x = photos(2)
    for bad, message in ((torch.zeros_like(x), "single colour"), (x / 0, "not finite")):
        with pytest.raises(ifast.InputError, match=f"example_inputs: got .*{message}"):
            ifast.optimize(network(), bad, precision="int8", backend="reference")


def test_modules_without_images_refuse() -> None:
    with pytest.raises(ifast.InputError, match="precision: got 'int8'"):
        ifast.nn.ConvBNReLU(3, 8, 3, precision="int8")
