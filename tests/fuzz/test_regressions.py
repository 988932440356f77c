"""The smallest networks that failed."""

from __future__ import annotations

import pytest

from tests.backends.harness import here_on_the_cpu
from tests.fuzz.checks import failure
from tests.fuzz.description import Conv, Network, Norm
from tests.fuzz.setting import Setting

NETWORKS = {
    "a mean of the input that is far from its deviation": Network(
        image=(1, 1, 2),
        layers=(Norm(affine=False), Conv(channels=17), Conv(channels=12), Norm()),
        seed=20077,
        offset=30.0,
    ),
}


@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str, backend: str) -> None:
    here_on_the_cpu(backend)
    found = failure(NETWORKS[name], Setting(backend))
    assert found is None, str(found)
