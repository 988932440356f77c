"""A branch that one caller takes and another does not is refused, or both are served; no branch is frozen."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.compiler import is_compiling

from inception_fast.errors import CaptureError
from inception_fast.graph.capture import capture
from tests.graph.capturing import Model, check, example

Forward = Callable[[Any, Tensor], Any]
ONE = "computes otherwise for one image than for several"
TRACED = "computes otherwise while it is traced than otherwise"


def layers() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"a": nn.Conv2d(4, 5, 3), "b": nn.Conv2d(4, 5, 3)}


FROZEN: dict[str, tuple[Forward, str]] = {
    "another layer for one image": (lambda m, x: m.a(x) if x.shape[0] == 1 else m.b(x), ONE),
    "a layer more for several": (lambda m, x: F.relu(m.a(x)) if x.size(0) > 1 else m.a(x), ONE),
    "a layer more for one": (lambda m, x: F.relu(m.a(x)) if x.size(0) < 2 else m.a(x), ONE),
    "another number": (lambda m, x: m.a(x) * (2 if x.shape[0] == 1 else 3), ONE),
    "another tensor": (lambda m, x: m.a(x) * torch.tensor(2.0 if x.shape[0] == 1 else 3.0), ONE),
    "another stride": (lambda m, x: F.max_pool2d(m.a(x), 2, 1 if x.shape[0] == 1 else 2), ONE),
    "another structure": (lambda m, x: m.a(x) if x.shape[0] == 1 else [m.a(x)], ONE),
    "another constant": (lambda m, x: (m.a(x), "one" if x.shape[0] == 1 else "several"), ONE),
    "another tensor returned": (lambda m, x: (m.a(x), m.b(x))[:: 1 if x.shape[0] == 1 else -1], ONE),
    "a failure": (lambda m, x: m.a(x) if x.shape[0] > 1 else 1 / 0, "the model fails for a batch of 1"),
    "is_compiling": (lambda m, x: m.a(x) if torch.compiler.is_compiling() else m.b(x), TRACED),
    "is_compiling, imported": (lambda m, x: m.a(x) if is_compiling() else m.b(x), TRACED),
    "is_exporting": (lambda m, x: m.a(x) if torch.compiler.is_exporting() else m.b(x), TRACED),
    "a little": (lambda m, x: m.a(x) * (1.0001 if is_compiling() else 1.0), TRACED),
    "a limit": (lambda m, x: m.a(x) if is_compiling() else m.a(x).clamp(-50, 50), TRACED),
    "a size": (lambda m, x: m.a(x)[:, : 4 if is_compiling() else 5], TRACED),
    "a number": (lambda m, x: (m.a(x), 1 if is_compiling() else 2), TRACED),
    "a failure there": (lambda m, x: F.relu(m.a(x)) + (0 if is_compiling() else m.b(x).numpy()), "fails for a batch"),
    "is_tracing": (lambda m, x: m.a(x) if torch.jit.is_tracing() else m.b(x), TRACED),
}


@pytest.mark.parametrize(("forward", "message"), FROZEN.values(), ids=FROZEN)
def test_branches_that_differ_are_refused(forward: Forward, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        capture(Model(forward, **layers()), example())


SERVED: dict[str, Forward] = {
    "the same for one image": lambda m, x: F.relu(m.a(x)) if x.shape[0] == 1 else m.a(x).relu(),
    "no image": lambda m, x: m.b(x) if x.shape[0] == 0 else m.a(x),
    "any image": lambda m, x: m.a(x) if x.shape[0] > 0 else m.b(x),
    "a reshape by the batch": lambda m, x: m.a(x).view(x.shape[0], -1),
    "a reshape by the rest": lambda m, x: m.a(x).view(-1, 5 * 5 * 7),
    "the same traced": lambda m, x: F.relu(m.a(x)) if is_compiling() else m.a(x).relu(),
    "another spelling traced": lambda m, x: m.a(x) + m.a(x) if torch.jit.is_tracing() else 2 * m.a(x),
    "a constant made otherwise": lambda m, x: (
        m.a(x) * (torch.tensor([2.0]) if is_compiling() else torch.stack([torch.full((), 2.0)]))
    ),
    "a parameter's value": lambda m, x: m.a(x) * m.scale,
}


@pytest.mark.parametrize("forward", SERVED.values(), ids=SERVED)
def test_branches_that_agree_are_served(forward: Forward) -> None:
    check(forward, scale=torch.tensor(3.0), **layers())


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.few = nn.Conv2d(4, 4, 1)
        self.many = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] == 1:
            x = torch.mul(x, 2)
        return self.many(x)


def test_the_module_and_the_lines_are_named() -> None:
    lines, start = inspect.getsourcelines(Branching.forward)
    one, several = (start + next(i for i, text in enumerate(lines) if what in text) for what in ("mul", "many"))
    with pytest.raises(CaptureError) as caught:
        capture(nn.Sequential(nn.ReLU(), Branching()).eval(), example())
    assert str(caught.value) == (
        f"module '1' {ONE}, at {__file__}:{one} against {__file__}:{several}; "
        "make its computation the same for every batch size"
    )


def test_a_tensor_kept_outside_the_model_is_not_lost_in_silence() -> None:
    kept: list[Tensor] = []

    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        kept.append(y)
        return F.relu(y)

    line = inspect.getsourcelines(forward)[1] + 1
    with pytest.raises(CaptureError, match=f"keeps a tensor that it computed at {__file__}:{line} in a place outside"):
        capture(Model(forward, **layers()), example())


def looks(*_: Any) -> None:
    pass


def on_the_model(model: nn.Module) -> Any:
    return model.register_forward_hook(looks)


def on_a_layer(model: Any) -> Any:
    return model.a.register_forward_pre_hook(looks)


def on_every_module(model: nn.Module) -> Any:
    return nn.modules.module.register_module_forward_hook(looks)


@pytest.mark.parametrize(
    ("register", "where"),
    [
        (on_the_model, "the model"),
        (on_a_layer, "module 'a'"),
        (on_every_module, r"every module \(register_module_forward_hook\)"),
    ],
)
def test_forward_hooks_are_refused_before_they_see_anything(register: Any, where: str) -> None:
    model = Model(lambda m, x: m.a(x), **layers())
    handle = register(model)
    try:
        with pytest.raises(CaptureError, match=f"the forward hook looks on {where} would never be called again"):
            capture(model, example())
    finally:
        handle.remove()
    capture(model, example())


def test_hooks_that_prepare_weights_are_traced() -> None:
    model = Model(lambda m, x: m.a(x), a=nn.utils.spectral_norm(nn.Conv2d(4, 5, 3)))
    with torch.no_grad():
        model.a.weight_orig.mul_(7)
    check(lambda m, x: m.a(x), a=model.a)
