"""The face of a partitioned model: what it takes, refuses, keeps and says."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

import inception_fast as ifast
from inception_fast.plan.plan import convolutions_of
from tests.nn.modules import lively
from tests.partition.comparing import assert_keeps_promise
from tests.partition.models import Parts, images, listed, model, vectors, with_metadata, with_softplus


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def module() -> Parts:
    return model("metadata")


@pytest.fixture(scope="module")
def fast(module: Parts) -> ifast.PartitionedModel:
    """Of a model of images and metadata."""
    return ifast.optimize(module, (images(1), vectors(1)))


@pytest.fixture(scope="module")
def softplus() -> ifast.PartitionedModel:
    return ifast.optimize(model("softplus head"), images(1))


class Named(Parts):
    def forward(self, image: torch.Tensor, meta: torch.Tensor, scale: float = 1.0, flag: object = None) -> Any:
        return self.function(self, image * scale, meta)


def test_arguments_by_name() -> None:
    module = Named(with_metadata, mix=nn.Linear(11, 5)).eval()
    fast = ifast.optimize(module, {"meta": vectors(2), "image": images(2), "scale": 0.5})
    for args, kwargs in (
        ((images(3), vectors(3), 0.5), {}),
        ((images(3),), {"scale": 0.5, "meta": vectors(3)}),
        ((), {"image": images(3), "meta": vectors(3), "scale": 0.5, "flag": None}),
    ):
        assert_keeps_promise(fast, module, *args, **kwargs)
    with pytest.raises(ifast.InputError, match=r"scale: got float, expected 0.5, as in the example"):
        fast(images(1), vectors(1), scale=2.0)
    with pytest.raises(ifast.InputTypeError, match=r"flag: got int, expected to be left out"):
        fast(images(1), vectors(1), 0.5, flag=1)
    with pytest.raises(ifast.InputTypeError, match="missing a required argument: 'meta'"):
        fast(images(1))


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((images(2), vectors(3)), ifast.InputError, r"shape \[3, 4\], expected \[N, 4\], where N is 2"),
        ((images(2)[0], vectors(2)), ifast.InputError, r"rank 3 .* expected rank 4, \[N, 3, 24, 24\]"),
        ((images(2)[..., :9], vectors(2)), ifast.InputError, r"shape \[2, 3, 24, 9\], expected \[N, 3, 24, 24\]"),
        ((images(2).double(), vectors(2)), ifast.InputTypeError, "torch.float64, expected torch.float32"),
        ((images(2), vectors(2).to_sparse()), ifast.InputTypeError, "layout torch.sparse_coo"),
        ((images(2), vectors(2).to("meta")), ifast.InputTypeError, "on the meta device"),
        ((images(2), "text"), ifast.InputTypeError, "got str, expected a torch.Tensor"),
    ],
)
def test_refuses_what_does_not_fit(
    fast: ifast.PartitionedModel, args: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fast(*args)


@torch.no_grad()
def test_an_empty_batch(module: Parts, fast: ifast.PartitionedModel) -> None:
    found, wanted = (model(images(2)[:0], vectors(2)[:0]) for model in (fast, module))
    pairs = list(zip(pytree.tree_leaves(found), pytree.tree_leaves(wanted), strict=True))
    tensors = [(a, b) for a, b in pairs if isinstance(b, torch.Tensor)]
    assert tensors and all(a.shape == b.shape and a.dtype == b.dtype for a, b in tensors)
    assert 0 in tensors[0][0].shape


def test_lists_are_of_one_length_and_constants_fixed() -> None:
    module = model("list")
    fast = ifast.optimize(module, (list(images(2)),))
    assert_keeps_promise(fast, module, tuple(images(2)))
    with pytest.raises(ifast.InputTypeError, match="got 3 items, expected a list of 2"):
        fast(list(images(3)))
    assert listed.__kwdefaults__ == {"scale": 1.0}


def test_gradients_are_refused_where_they_are_asked_for(module: Parts, fast: ifast.PartitionedModel) -> None:
    x, meta = images(2).requires_grad_(), vectors(2).requires_grad_()
    result = fast(x, meta)
    assert result.requires_grad and torch.allclose(result, module(x, meta), rtol=1e-4, atol=1e-5)
    with pytest.raises(ifast.InputError, match="computes none"):
        result.sum().backward()
    assert meta.grad is None
    with torch.no_grad():
        assert not fast(x, meta).requires_grad


def test_autocast_changes_nothing(fast: ifast.PartitionedModel) -> None:
    x, meta = images(2), vectors(2)
    plain = fast(x, meta)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fast(x, meta), plain)


def test_autocast_may_have_cast_the_arguments(fast: ifast.PartitionedModel) -> None:
    """What an eager layer before it gives is in another type there, and nowhere else."""
    x, meta = images(2), vectors(2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        got = fast(x.bfloat16(), meta.half())
        with pytest.raises(ifast.InputTypeError, match=r"got torch\.float64, expected torch\.float32"):
            fast(x.double(), meta)
    with torch.no_grad():
        assert torch.equal(got, fast(x.bfloat16().float(), meta.half().float()))
        with pytest.raises(ifast.InputTypeError, match=r"got torch\.bfloat16, expected torch\.float32"):
            fast(x.bfloat16(), meta)


def test_traces_keep_engines_as_operators(fast: ifast.PartitionedModel) -> None:
    x, meta = images(2), vectors(2)
    with torch.no_grad():
        plain = fast(x, meta)
        traced = torch.jit.trace(fast, (x, meta), check_trace=False)
        program = torch.export.export(fast, (x, meta))
    assert torch.equal(traced(x, meta), plain) and torch.equal(program.module()(x, meta), plain)
    targets = [str(n.target) for n in program.graph.nodes]
    assert "inception_fast.run.default" in targets and not any("conv2d" in t for t in targets)


def test_results_in_memory_of_the_callers(module: Parts, fast: ifast.PartitionedModel) -> None:
    x = images(2), vectors(2)
    out = torch.full((5, 2), float("nan")).t()
    assert fast(*x, out=out) is out and torch.equal(out, fast(*x))
    for wrong, message in (
        (torch.zeros(2, 4), r"out: got shape \[2, 4\], expected \[2, 5\]"),
        (torch.zeros(2, 5).half(), "out: got torch.float16"),
        ([out], "out: got list, expected a torch.Tensor"),
        (torch.zeros(2, 5).requires_grad_(), "requires_grad=True"),
        (torch.zeros(2, 1).expand(2, 5), "every element at a place of its own"),
    ):
        with pytest.raises(ifast.InputError, match=message):
            fast(*x, out=wrong)
    with pytest.raises(ifast.InputError, match="grad enabled"):
        fast(x[0].requires_grad_(), x[1], out=out)


def test_threads_share_it(fast: ifast.PartitionedModel) -> None:
    batches = [images(n, seed=n) for n in (1, 2, 3, 4)]
    expected = [fast(x, vectors(len(x))) for x in batches]
    got: list[Any] = [None] * 4

    def call(i: int) -> None:
        for _ in range(5):
            got[i] = fast(batches[i], vectors(len(batches[i])))

    threads = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(map(torch.equal, got, expected))


def test_weights_are_its_own(module: Parts) -> None:
    module = copy.deepcopy(module)
    fast, x = ifast.optimize(module, (images(1), vectors(1))), (images(2), vectors(2))
    before = fast(*x)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert torch.equal(fast(*x), before)


def test_copies_and_states(fast: ifast.PartitionedModel) -> None:
    x = images(2), vectors(2)
    expected = fast(*x)
    other = copy.deepcopy(fast)
    other.rest.constant0.zero_()
    assert torch.equal(fast(*x), expected) and not torch.equal(other(*x), expected)
    other.load_state_dict(fast.state_dict())
    assert torch.equal(other(*x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(fast))(*x), expected)


def test_is_for_inference_and_of_one_precision(fast: ifast.PartitionedModel) -> None:
    other = copy.deepcopy(fast)
    with pytest.raises(ifast.InputError, match="training: got True"):
        other.train()(images(1), vectors(1))
    with pytest.raises(ifast.InputError, match="optimize the model in another precision"):
        other.half()
    with pytest.raises(ifast.InputError, match="requires_grad"):
        other.requires_grad_()
    with pytest.raises(AttributeError, match="fc: got asked of a PartitionedModel"):
        _ = other.fc
    with pytest.raises(ifast.InputError, match="parameters"):
        next(other.parameters())
    assert other.to("cpu") is other and list(other.parameters()) == []


def test_report_says_what_runs_where(softplus: ifast.PartitionedModel) -> None:
    report = softplus.report()
    (island,) = report.islands
    assert (island.name, island.convolutions, island.modules[0]) == ("island0", 7, "trunk.0.conv")
    assert island.report is not None and island.report.backend == softplus.backend
    (foreign,) = report.foreign
    assert (foreign.op, foreign.elements) == ("aten.softplus.default", 14) and "models.py" in foreign.source
    text = str(report)
    assert "any N in [N, 3, 24, 24]" in text and "aten.softplus.default" in text and "fold_batchnorm" in text


def test_islands_that_gain_nothing_stay_pytorchs() -> None:
    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.erf(self.b(torch.erf(self.a(x))))

    module, x = Tiny().eval(), torch.randn(2, 3, 5, 5)
    with pytest.warns(UserWarning, match="too few"):
        fast = ifast.optimize(module, x)
    assert not fast.engines and "too few" in str(fast.report())
    assert_keeps_promise(fast, module, x)


def test_fixed_batches_are_told() -> None:
    class Fixed(Parts):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.logits(self.trunk(x)).softmax(1).reshape(2, 7)

    module = Fixed(with_softplus).eval()
    fast = ifast.optimize(module, images(2))
    assert len(fast.engines) == 1 and "no other sizes" in str(fast.report())
    assert_keeps_promise(fast, module, images(2))
    with pytest.raises(ifast.InputError, match=r"shape \[3, 3, 24, 24\], expected \[2, 3, 24, 24\]"):
        fast(images(3))


def test_a_model_of_a_single_image() -> None:
    class Single(Parts):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.logits(self.trunk(x)).view(1, 7).softmax(1)

    module = Single(with_softplus).eval()
    fast = ifast.optimize(module, images(1))
    assert len(fast.engines) == 1
    assert_keeps_promise(fast, module, images(1))
    with pytest.raises(ifast.InputError, match=r"expected \[1, 3, 24, 24\]"):
        fast(images(2))


def test_a_model_with_a_fast_model_in_it() -> None:
    plain = model("softplus head")
    fast = ifast.optimize(nn.Sequential(ifast.optimize(plain.trunk, images(1)), nn.Softmax(1)).eval(), images(1))
    gc.collect()
    assert_keeps_promise(fast, nn.Sequential(plain.trunk, nn.Softmax(1)).eval(), images(3))


def test_rounding_is_limited_by_what_follows_an_island() -> None:
    """What is added to an island's outputs is amplified behind it; tiles are chosen for that."""
    noises = {}
    for growth in (0.01, 100.0):
        module = lively(Parts(lambda m, x, growth=growth: torch.sin(growth * m.trunk(x))))
        fast = ifast.optimize(module, images(1), backend="cpu")
        assert_keeps_promise(fast, module, images(3))
        (engine,) = fast.engines.values()
        found = [c.sensitivity for s in engine.plan.steps for c in convolutions_of(s) if c.sensitivity]
        noises[growth] = max(s.noise for s in found)
    assert noises[100.0] > 10 * noises[0.01]


def test_a_model_that_noise_is_not_for() -> None:
    """Where nobody can tell what becomes of an error, nothing adds any."""

    def forward(m: Parts, x: torch.Tensor) -> torch.Tensor:
        return m.logits(m.trunk(x) * torch.log(x.amin() - 3).to(x.dtype)).softmax(1)

    module = lively(Parts(forward))
    fast = ifast.optimize(module, images(1), backend="cpu")
    (engine,) = fast.engines.values()
    assert "no algorithm that adds rounding" in str(engine.report())
    assert_keeps_promise(fast, module, images(2) + 10)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision(precision: str) -> None:
    module = model("gate of nobody")
    fast = ifast.optimize(module, images(1), precision=precision, backend="torch")
    with torch.no_grad():
        truth, got = copy.deepcopy(module).double()(images(3).double()), fast(images(3))
        half = copy.deepcopy(module).to(getattr(torch, {"bf16": "bfloat16", "fp16": "float16"}[precision]))
        eager = half(images(3).to(next(half.parameters()).dtype))
    assert got.dtype == torch.float32
    assert (got.double() - truth).norm() <= 2 * (eager.double() - truth).norm()


def test_int8_is_calibrated_on_what_reaches_each_island() -> None:
    module = model("instance norm")
    example = images(8)
    fast = ifast.optimize(module, example, precision="int8", backend="reference")
    assert len(fast.engines) == 2 and {e.precision for e in fast.engines.values()} == {"int8"}
    with torch.no_grad():
        truth = copy.deepcopy(module).double()(example.double())
    error = (fast(example).double() - truth).norm() / truth.norm()
    assert 1e-5 < error < 0.2


def test_batch_invariance_is_refused() -> None:
    with pytest.raises(ifast.InputError, match=r"batch_invariant: .*aten\.softplus\.default"):
        ifast.optimize(model("softplus head"), images(1), batch_invariant=True)


def test_hooks_and_changes_of_state_are_refused() -> None:
    module = copy.deepcopy(model("softplus head"))
    handle = module.fc.register_forward_hook(lambda *_: None)
    with pytest.raises(ifast.CaptureError, match="hook"):
        ifast.optimize(module, images(1))
    handle.remove()
    module.register_buffer("calls", torch.zeros(()))

    def counting(m: Parts, x: torch.Tensor) -> torch.Tensor:
        m.calls.add_(1)
        return with_softplus(m, x)

    module.function = counting
    with pytest.raises(ifast.CaptureError, match="changes its state 'calls'"):
        ifast.optimize(module, images(1))


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ((), "missing a required argument|without a tensor"),
        ("text", "got str, expected a torch.Tensor"),
        ((images(1)[:, :, :0],), "at least one element"),
        ((images(1), images(1)), "takes|positional|the model itself fails"),
        ((object(),), "an argument of object"),
    ],
)
def test_bad_examples(example: Any, message: str) -> None:
    with pytest.raises(ifast.InputError, match=message):
        ifast.optimize(model("softplus head"), example)
