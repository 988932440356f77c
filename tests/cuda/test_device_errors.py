"""What a call of the CUDA runtime reports arrives in Python as an exception that names the call."""

from __future__ import annotations

import pytest
import torch

from inception_fast.backends.cuda import native
from inception_fast.errors import DeviceError, EngineFileError
from inception_fast.plan.serialize import plan_to_json
from tests.backends.cases import CASES
from tests.backends.harness import lowered


def build(emulate: bool, precision: str = "fp32", driver: str = "stage", device: int = 0) -> object:
    try:
        module = native(emulate)
    except ImportError as error:
        pytest.skip(str(error))
    plan, constants = lowered(CASES["conv_1x1"](), "fp32")
    addresses = {name: (tensor.data_ptr(), tensor.nbytes) for name, tensor in constants.items()}
    return module.CudaExecutor(plan_to_json(plan), addresses, precision, driver, device)


def test_device_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match=r"^cuda\w+: cudaError\w+: "):
        build(emulate=False, device=torch.cuda.device_count())


@pytest.mark.parametrize("argument", [{"precision": "fp16"}, {"precision": "fp8"}, {"driver": "other"}])
def test_argument_that_does_not_fit(argument: dict[str, str]) -> None:
    with pytest.raises(EngineFileError, match=next(iter(argument))):
        build(emulate=True, **argument)
