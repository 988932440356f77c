"""From a word on the command line to a network and its images."""

from __future__ import annotations

import pytest
import torch

from inception_fast import list_models
from inception_fast.bench.targets import chosen_models, load_images, load_target, repeat
from inception_fast.errors import InputError
from tests.bench.nets import Small


def test_a_factory_keeps_its_weights_and_gets_the_size_asked_for() -> None:
    target = load_target("tests.bench.nets:small", 31)
    assert isinstance(target.model, Small)
    assert target.size == 31
    assert not target.model.training


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("inception_v9", "inception_v3"),
        ("tests.bench.nets:absent", "absent"),
        ("no_such_module:f", "no_such_module"),
        ("tests.bench.nets:not_a_module", "str"),
        ("elsewhere/inception_v3", "torchvision/NAME"),
    ],
)
def test_a_wrong_name_is_told_what_is_possible(name: str, word: str) -> None:
    with pytest.raises(InputError, match="model") as caught:
        load_target(name)
    assert word in str(caught.value)


def test_an_onnx_file_says_which_size_it_takes(tmp_path) -> None:
    onnx = pytest.importorskip("onnx")
    from tests.artefacts.graphs import noise, single

    path = tmp_path / "m.onnx"
    onnx.save(single("Conv", 13, noise(1, 3, 9, 9, dtype="float32"), [noise(2, 3, 3, 3, dtype="float32")]), path)
    assert load_target(str(path)).size == 9
    assert load_target(str(path), 12).size == 12


@pytest.mark.parametrize("name", ["torchvision/nosuch", "timm/nosuch", "facenet-pytorch/Nosuch"])
def test_a_package_without_that_network_says_so(name: str) -> None:
    with pytest.raises(
        InputError, match=f"(?i)model: got '{name}' \\(.*nosuch.*\\), expected a reference model"
    ) as caught:
        load_target(name)
    assert "init_weights" not in str(caught.value)


def test_a_package_network_outside_the_family() -> None:
    pytest.importorskip("torchvision")
    assert type(load_target("torchvision/resnet18", 64).model).__name__ == "ResNet"


@pytest.mark.parametrize("name", ["googlenet", "tests.bench.nets:small"])
def test_images_that_the_network_does_not_take(name: str) -> None:
    with pytest.raises(InputError, match=f"size: got 2, for which {name} fails: .+, expected a size of images"):
        load_target(name, 2)


def test_a_package_network_comes_alive() -> None:
    pytest.importorskip("timm")
    target = load_target("timm/inception_v3", 107)
    x = load_images(107, 2)
    with torch.no_grad():
        first, second = target.model(x)
    assert (first - second).norm() > 0.1 * first.norm()


def test_which_models() -> None:
    assert chosen_models([], everything=False) == ["inception_v3"]
    assert chosen_models(["googlenet"], everything=False) == ["googlenet"]
    assert chosen_models(["googlenet", "a:b"], everything=True) == [*list_models(), "a:b"]


def test_noise_is_the_same_each_time_and_in_range() -> None:
    noise = load_images(9, 3, random=True)
    assert noise.shape == (3, 3, 9, 9)
    assert torch.equal(noise, load_images(9, 3, random=True))
    assert -1 <= noise.min() < -0.5 < 0.5 < noise.max() <= 1


def test_images_repeat_in_turn() -> None:
    assert repeat(torch.tensor([10, 20, 30]), 7).tolist() == [10, 20, 30, 10, 20, 30, 10]
