"""``precision='int8'``: every family near the network it came from, on kernels that give the reference's bits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.backends import get_backend, names
from inception_fast.bench.accuracy import INT8_ERROR, agrees, compare, flatten, true_outputs
from inception_fast.models import create_model, list_models
from inception_fast.photos import NAMES, load_photos
from inception_fast.plan.check import MAX_QUANTIZED_BIAS
from inception_fast.plan.plan import ConvStep
from tests.backends.test_families import SIZES
from tests.integrations.networks import network, photos

QUICK = ("googlenet", "inception_resnet_v1")
SMALL_ERROR = 1.5 * INT8_ERROR
"""Small images leave a network's last layers few pixels to average over."""
FAMILIES = [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in list_models()]


@pytest.fixture(scope="module")
def quantized() -> Callable[[str], tuple[nn.Module, ifast.FastModel, torch.Tensor]]:
    """A family's network, its quantised form on the reference backend, and images that are not the calibration's."""
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
    error = compare(flatten(fast(images)), true_outputs(model, images))
    assert error.relative_l2 <= SMALL_ERROR and agrees("int8", error)


def test_photographs_calibrate_better_than_dim_noise(
    quantized: Callable[[str], tuple[nn.Module, ifast.FastModel, torch.Tensor]],
) -> None:
    model, fast, images = quantized("googlenet")
    noise = (torch.rand(12, *images.shape[1:], generator=torch.Generator().manual_seed(0)) * 2 - 1) * 0.1
    poor = ifast.optimize(model, noise, precision="int8", backend="reference")
    truth = true_outputs(model, images)
    good, bad = (compare(flatten(made(images)), truth).relative_l2 for made in (fast, poor))
    assert good < 0.5 * bad


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
    assert "int8 weights" in report and "0 of them by F(2, 3)" in report and "from 6 images" in report


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
    assert compare(flatten(fast(images)), truth).relative_l2 < 0.9 * without.relative_l2


@pytest.mark.parametrize("backend", [name for name in names() if name not in ("cpu", "reference")])
def test_other_backends_refuse(backend: str) -> None:
    with pytest.raises(ifast.BackendUnavailableError):
        ifast.optimize(network(), photos(2), precision="int8", backend=backend)


def test_calibration_needs_images() -> None:
    x = photos(2)
    colours = torch.tensor([0.1, -0.3]).view(2, 1, 1, 1).expand_as(x)
    cases = ((torch.zeros_like(x), "single colour"), (colours, "single colour"), (x / 0, "not finite"))
    for bad, message in cases:
        with pytest.raises(ifast.InputError, match=f"example_inputs: got .*{message}"):
            ifast.optimize(network(), bad, precision="int8", backend="reference")


def test_images_of_one_pixel_calibrate_where_they_differ() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.ReLU(), torch.nn.Conv2d(8, 5, 1)).eval()
    x = torch.rand(8, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    fast = ifast.optimize(model, x, precision="int8", backend="reference")
    truth = true_outputs(model, x)
    assert compare(flatten(fast(x)), truth).relative_l2 < 0.05
    with pytest.raises(ifast.InputError, match="example_inputs: got images of a single colour"):
        ifast.optimize(model, x[:1].expand_as(x), precision="int8", backend="reference")


def test_modules_without_images_refuse() -> None:
    with pytest.raises(ifast.InputError, match="precision: got 'int8'"):
        ifast.nn.ConvBNReLU(3, 8, 3, precision="int8")


def test_few_images_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="calibrated on 2 images"):
        ifast.optimize(network(), photos(2), precision="int8", backend="reference")


def test_a_network_that_makes_nan_is_named() -> None:
    model = network()
    next(p for p in model.parameters() if p.dim() == 4).data.flatten()[0] = float("nan")
    with pytest.raises(ifast.InputError, match="model: got values that are not finite in "):
        ifast.optimize(model, photos(4), precision="int8", backend="reference")


def test_a_bias_beside_which_the_weights_vanish() -> None:
    """In units of a product it would not fit in a sum, so the weights lose what it does not."""
    model = torch.nn.Conv2d(3, 4, 3).eval()
    with torch.no_grad():
        assert model.bias is not None
        model.weight.mul_(torch.tensor([1.0, 1e-4, 1e-6, 0.0]).view(-1, 1, 1, 1))
        model.bias.copy_(torch.tensor([1e3, 1e4, -1e6, 1e6]))
    x = photos(6)
    fast = ifast.optimize(model, x, precision="int8", backend="reference")
    (bias,) = (value for value in fast.engine.constants.values() if value.dtype == torch.int32)
    assert MAX_QUANTIZED_BIAS // 2 - 1 <= bias.abs().max() <= MAX_QUANTIZED_BIAS
    for channel, truth in zip(fast(x).unbind(1), model(x).unbind(1), strict=True):
        assert compare([channel.double()], [truth.double()]).relative_l2 < 1e-3


def test_executors_take_float32() -> None:
    """The kernels write float32 outputs into what is made like the input."""
    cpu = get_backend("cpu")
    if not cpu.availability().available:
        pytest.skip(cpu.availability().reason)
    fast = ifast.optimize(network(), photos(4), precision="int8", backend="reference")
    executor = cpu.compile(fast.plan, fast.engine.constants, device=torch.device("cpu"), precision="int8")
    with pytest.raises(ifast.errors.InputTypeError, match=r"x: got torch\.uint8, expected torch\.float32"):
        executor.run(photos(1).to(torch.uint8))


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_backends_of_floating_point_refuse_the_plan(backend: str) -> None:
    fast = ifast.optimize(network(), photos(4), precision="int8", backend="reference")
    with pytest.raises(ifast.errors.PlanError, match=f"got uint8, backend '{backend}'"):
        get_backend(backend).compile(fast.plan, fast.engine.constants, device=torch.device("cpu"))
