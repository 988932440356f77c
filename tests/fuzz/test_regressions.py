"""The smallest networks that failed."""

from __future__ import annotations

import pytest

from tests.backends.harness import here_on_the_cpu
from tests.fuzz.checks import failure
from tests.fuzz.description import Affine, Concat, Conv, GlobalPool, Network, Norm, Pool, Relu, Tap
from tests.fuzz.setting import Setting

NETWORKS = {
    "a mean of the input that is far from its deviation": Network(
        image=(1, 1, 2),
        layers=(Norm(affine=False), Conv(channels=17), Conv(channels=12), Norm()),
        seed=20077,
        offset=30.0,
    ),
    "a scale's rounding behind a mean": Network(
        image=(1, 13, 4), layers=(GlobalPool(), Norm()), batch=2, seed=40078, offset=30.0
    ),
    "taps that are outside of the image": Network(
        image=(17, 6, 2),
        layers=(
            Pool(mode="avg", kernel=(2, 3), stride=(1, 2), padding=(0, 1), count_pad=False),
            Concat(
                (
                    (Conv(channels=33), Norm(), Affine(by_channel=True)),
                    (Conv(channels=5), Relu(), Conv(channels=12, kernel=(1, 3), padding=(0, 1, 0, 1)), Norm(), Norm()),
                )
            ),
        ),
        batch=4,
        seed=1351,
        offset=30.0,
    ),
    "weights' rounding in front of a mean": Network(
        image=(1, 6, 5),
        layers=(Tap(), Conv(channels=1, kernel=(3, 3), padding=(1, 1, 1, 1)), Norm(affine=False), GlobalPool()),
        batch=2,
        returns="tuple",
        seed=1318,
        offset=30.0,
    ),
}


@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str, backend: str) -> None:
    here_on_the_cpu(backend)
    found = failure(NETWORKS[name], Setting(backend))
    assert found is None, str(found)
