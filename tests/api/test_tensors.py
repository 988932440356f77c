"""Nothing without memory of its own reaches native code, and what can be resolved is."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from inception_fast.errors import InputError, InputTypeError
from inception_fast.tensors import in_memory, is_traced

X = torch.arange(384.0).view(2, 3, 8, 8)


class Wrapper(torch.Tensor):
    """Holds a tensor and has no memory."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Wrapper:
        wrapper = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        wrapper.inner = inner
        return wrapper

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        raise AssertionError(f"{func} was called")


class Named(torch.Tensor):
    """A tensor with memory and a name of its own."""


def cut(size: int, rows: int = 0) -> torch.Tensor:
    """The image without its first rows, over a storage that was cut to some bytes."""
    x = X.clone()
    view = x[:, :, rows:]
    x.untyped_storage().resize_(size)
    return view


def faked() -> torch.Tensor:
    with FakeTensorMode() as mode:
        return mode.from_tensor(X)


REFUSED: dict[str, tuple[Callable[[], object], type[InputError], str]] = {
    "no tensor": (lambda: X.tolist(), InputTypeError, "got list"),
    "fake": (faked, InputTypeError, "FakeTensor without memory"),
    "functional": (lambda: torch._to_functional_tensor(X), InputTypeError, "without memory"),
    "wrapper": (lambda: Wrapper(X), InputTypeError, "a Wrapper without memory"),
    "zero": (lambda: torch._efficientzerotensor((2, 3)), InputTypeError, "zero tensor"),
    "meta": (lambda: X.to("meta"), InputTypeError, "meta device"),
    "sparse": (lambda: X[0, 0].to_sparse(), InputTypeError, "torch.sparse_coo"),
    "mkldnn": (lambda: X.to_mkldnn(), InputTypeError, "torch._mkldnn"),
    "freed": (lambda: cut(0), InputError, "over 0 bytes"),
    "one element short": (lambda: cut(4 * X.numel() - 1), InputError, "over 1535 bytes"),
    "strides beyond it": (lambda: cut(4 * X.numel() - 4, rows=1), InputError, "over 1532 bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_refused(name: str) -> None:
    make, error, words = REFUSED[name]
    x = make()
    with pytest.raises(error, match=f"image: .*{words}"):
        in_memory("image", x)


@pytest.mark.parametrize(
    "x",
    [
        X,
        X.contiguous(memory_format=torch.channels_last),
        X[1:, 1:, 2:7:2, 3:],
        X.expand(5, 2, 3, 8, 8),
        X[:0],
        torch.nn.Parameter(X),
    ],
)
def test_plain_tensors_come_through_as_they_are(x: torch.Tensor) -> None:
    assert in_memory("x", x) is x
    with torch.inference_mode():
        y = x.clone()
        assert in_memory("x", y) is y


def test_lazy_bits_are_resolved() -> None:
    z = torch.complex(X, X + 1)
    negative = z.conj().imag
    assert negative.is_neg()
    for _ in range(2):
        got = in_memory("x", negative)
        assert not got.is_neg() and torch.equal(got, -(X + 1))
    conjugate = in_memory("x", z.conj())
    assert not conjugate.is_conj() and torch.equal(torch.view_as_real(conjugate)[..., 1], -(X + 1))


def test_a_subclass_with_memory_comes_through() -> None:
    x = X.as_subclass(Named)
    got = in_memory("x", x)
    assert type(got) is torch.Tensor and got.data_ptr() == X.data_ptr()


def test_inside_transforms() -> None:
    def call(x: torch.Tensor) -> torch.Tensor:
        with pytest.raises(InputTypeError, match=r"torch\.func"):
            in_memory("x", x)
        assert is_traced()
        return x * 2

    torch.vmap(call)(X)
    torch.func.jvp(call, (X,), (X,))
    torch.func.grad(lambda x: call(x).sum())(X)


def test_forward_mode_gradients() -> None:
    with forward_ad.dual_level():
        assert in_memory("x", X) is X
        with pytest.raises(InputError, match="tangent"):
            in_memory("x", forward_ad.make_dual(X.clone(), X))


@pytest.mark.filterwarnings("ignore")
def test_what_records_is_seen() -> None:
    seen = []

    def call(x: torch.Tensor) -> torch.Tensor:
        seen.append(is_traced())
        return x + 1

    torch.jit.trace(call, X, check_trace=False)
    make_fx(call)(X)
    make_fx(call, tracing_mode="fake")(X)
    with FakeTensorMode():
        call(torch.empty(2))
    assert seen == [True] * 4
    compiled = torch.compile(lambda x: x + 1 if is_traced() else x, backend="eager", fullgraph=True)
    assert torch.equal(compiled(X), X + 1)
    call(X)
    with torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        call(X)
    assert seen[4:] == [False] * 2


def test_an_export_in_another_thread() -> None:
    """PyTorch says of the whole process that it compiles, then; tracing is this or that thread's."""
    inside, go_on = threading.Event(), threading.Event()
    seen = []

    class Waits(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(is_traced())
            inside.set()
            assert go_on.wait(60)
            return x + 1

    exporting = threading.Thread(target=torch.export.export, args=(Waits(), (X,)))
    exporting.start()
    try:
        assert inside.wait(60)
        assert torch.compiler.is_compiling() and not is_traced()
    finally:
        go_on.set()
        exporting.join()
    assert seen[0]
