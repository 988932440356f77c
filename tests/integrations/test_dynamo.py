"""torch.compile(model, backend="inception_fast")."""

from __future__ import annotations

import copy
import gc
import re
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed
from torch.utils.checkpoint import checkpoint

import inception_fast as ifast
from inception_fast.fast_model import FastModel
from inception_fast.integrations.dynamo import inception_fast_backend
from tests.integrations.networks import Network, assert_same_results, network, photos
from tests.nn.modules import lively


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> None:
    torch._dynamo.reset()


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[FastModel]:
    """Every FastModel made during the test."""
    made: list[FastModel] = []
    original = FastModel.__init__

    def note(self: FastModel, *args: Any) -> None:
        original(self, *args)
        made.append(self)

    monkeypatch.setattr(FastModel, "__init__", note)
    return made


def compiled(model: nn.Module, **options: Any) -> Any:
    return torch.compile(model, backend=inception_fast_backend, fullgraph=True, **options)


@torch.no_grad()
def assert_runs(fast: Any, model: nn.Module, batch: int, size: tuple[int, int] = (11, 9)) -> None:
    x = photos(batch, size)
    assert_same_results(fast(x), copy.deepcopy(model).double()(x.double()))


def test_entry_point() -> None:
    """The name that an installation registers is the backend."""
    from importlib.metadata import entry_points

    (found,) = entry_points(group="torch_dynamo_backends", name="inception_fast")
    assert found.load() is inception_fast_backend
    assert "inception_fast" in torch._dynamo.list_backends()
    with torch.no_grad():
        assert_same_results(
            torch.compile(network(), backend="inception_fast")(photos(2)), network().double()(photos(2).double())
        )


@pytest.mark.parametrize("batches", [(1, 3, 5), (3, 3), (2, 1)])
def test_batches(built: list[FastModel], batches: tuple[int, ...]) -> None:
    """A first batch of one leaves its number in the graph's reshapes; later ones come as symbols."""
    model = network()
    fast = compiled(model)
    for batch in batches:
        assert_runs(fast, model, batch)
    assert 1 <= len(built) <= 3


def test_image_sizes() -> None:
    model = network()
    fast = compiled(model)
    for size in [(11, 9), (12, 9), (9, 13), (7, 7)]:
        assert_runs(fast, model, 2, size)


def test_one_engine_for_many_calls(built: list[FastModel]) -> None:
    fast = compiled(network(), dynamic=True)
    for batch in (2, 3, 4, 2):
        assert_runs(fast, network(), batch)
    assert len(built) == 1


@torch.no_grad()
def test_follows_the_weights() -> None:
    model = network()
    fast = compiled(model)
    assert_runs(fast, model, 2)
    model.stem.conv.weight.mul_(2)
    assert_runs(fast, model, 2)
    model.stem.bn.running_mean.add_(0.5)
    assert_runs(fast, model, 2)
    model.load_state_dict(network(seed=5).state_dict())
    assert_runs(fast, model, 2)
    model.stem.conv.weight = nn.Parameter(model.stem.conv.weight * 2)
    assert_runs(fast, model, 2)


def test_two_models_of_one_class(built: list[FastModel]) -> None:
    """Dynamo's code is shared between them; weights must not be."""
    first, second = network(seed=1), network(seed=2)
    fast = compiled(first), compiled(second)
    for _ in range(2):
        assert_runs(fast[0], first, 2)
        assert_runs(fast[1], second, 2)
    assert len(built) == 2


def test_engines_die_with_the_weights() -> None:
    models = [network(seed=s) for s in range(3)]
    torch._dynamo.reset()
    entries = []

    def note(gm: Any, inputs: Any) -> Any:
        entries.append(inception_fast_backend(gm, inputs))
        return entries[-1]

    for model in models:
        with torch.no_grad():
            torch.compile(model, backend=note, fullgraph=True)(photos(2))
    count = sum(len(e._engines) for e in entries)
    assert count == 3
    del models, model
    gc.collect()
    assert not any(engines.alive for e in entries for engines in e._engines.values())


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"backend": "reference"}, {"batch_invariant": True}])
def test_options(built: list[FastModel], options: dict[str, Any]) -> None:
    with torch.no_grad():
        compiled(network(), options=options)(photos(2))
    (fast,) = built
    assert {name: getattr(fast, name) for name in options} == options


@pytest.mark.filterwarnings("ignore:engines for")
def test_image_sizes_without_room(built: list[FastModel]) -> None:
    model = network()
    fast = compiled(model, dynamic=True, options={"memory_limit": 0})
    for size in [(11, 9), (12, 9), (9, 13), (11, 9)]:
        assert_runs(fast, model, 2, size)
    assert len(built) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"precison": "bf16"},
            r"options: got 'precison', expected any of backend, batch_invariant, memory_limit, precision",
        ),
        ({"precision": "fp12"}, r"precision: got 'fp12'"),
        ({"backend": "gpu"}, r"backend: got 'gpu'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with torch.no_grad(), pytest.raises(BackendCompilerFailed, match=message):
        compiled(network(), options=options)(photos(2))


class Reshapes(Network):
    """Names the batch in every way there is, and reshapes a constant whose first extent is as large."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("offset", torch.arange(20.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.block(self.stem(x)).mean((2, 3)) + self.offset.view(4, 5).reshape(1, 20)
        y = torch.reshape(y, (y.shape[0], 4, 5)).view([len(y), 20]).reshape(y.size(0), -1)
        y = torch.reshape(input=y, shape=(len(y), 5, 4)).reshape(shape=(len(y), 20)).view(size=(len(y), 2, 10))
        return self.fc(torch.reshape(y, shape=[-1, 20]))


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 4])
def test_batches_in_reshapes(batch: int) -> None:
    model = lively(Reshapes())
    got, truth = compiled(model)(photos(batch)), copy.deepcopy(model).double()(photos(batch).double())
    assert (got.double() - truth).norm() <= 1e-5 * truth.norm()


class Unsupported(Network):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.softplus(self.stem(x))


def test_unsupported_op() -> None:
    """Where asked for, there is no falling back: the operator, its module and the line are named."""
    with torch.no_grad(), pytest.raises(BackendCompilerFailed, match=r"softplus.*test_dynamo\.py:\d+") as raised:
        compiled(Unsupported().eval(), options={"strict": True})(photos(2))
    assert isinstance(raised.value.inner_exception, ifast.UnsupportedOpError)


class Parted(Network):
    """Two islands, and operators between and behind them that stay PyTorch's."""

    def forward(self, x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        y = self.block(torch.erf(self.block(nn.functional.softplus(self.stem(x)).repeat(1, 1, 2, 2))[:, :12]))
        return self.fc(nn.functional.adaptive_avg_pool2d(y, 1).flatten(1)).softmax(1) * gate


def test_falls_back_region_by_region() -> None:
    model, gate = lively(Parted()), torch.tensor([[2.0]])
    fast = compiled(model)
    for weights in (1.0, 0.5):
        with torch.no_grad():
            model.fc.weight.mul_(weights)
        truth = copy.deepcopy(model).double()
        for number, batch in enumerate((1, 2, 5)):
            x, g = photos(batch), gate.expand(batch, 1).contiguous()
            with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                got, expected = fast(x, g), truth(x.double(), g.double())
            assert (got.double() - expected).norm() <= 1e-5 * expected.norm()
            said = [w for w in caught if "run on fast kernels" in str(w.message)]
            assert len(said) <= 1 and (said or number), "the first call says so"
            assert all("2 input tensors" in str(w.message) for w in said)


def test_training_mode() -> None:
    with torch.no_grad(), pytest.raises(BackendCompilerFailed, match="model: got training mode, expected eval mode"):
        compiled(network().train())(photos(2))


def test_gradients_wanted() -> None:
    """An inference backend would drop them in silence."""
    with pytest.raises(BackendCompilerFailed, match=r"requires_grad=True, and grad enabled, expected inference"):
        compiled(network())(photos(2))
    frozen = network().requires_grad_(False)
    assert_same_results(compiled(frozen)(photos(2)), copy.deepcopy(frozen).double()(photos(2).double()))
    with torch.inference_mode():
        compiled(network())(photos(2))


class TwoInputs(Network):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.stem(x) + self.stem(y)


def test_two_inputs() -> None:
    with (
        torch.no_grad(),
        pytest.raises(BackendCompilerFailed, match=r"model: got 2 input tensors \(.*\), expected one"),
    ):
        compiled(TwoInputs().eval(), options={"strict": True})(photos(1), photos(2, seed=2)[:1])


class Scaled(Network):
    def forward(self, x: torch.Tensor, factor: int) -> torch.Tensor:
        return self.stem(x) * factor


def test_a_number_beside_the_images() -> None:
    """It is no size of an image: the graph for all numbers stays PyTorch's."""
    model = Scaled().eval()
    fast = compiled(model, dynamic=True)
    with torch.no_grad(), pytest.warns(UserWarning, match="the graph stays PyTorch's.*expected images"):
        for factor in (3, 4, 7):
            truth = copy.deepcopy(model).double()(photos(2).double(), factor)
            assert (fast(photos(2), factor).double() - truth).norm() <= 1e-6 * truth.norm()


class Checkpointed(Network):
    """Recomputes its parts in a backward pass that never comes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = checkpoint(self.stem, x, use_reentrant=False)
        maps, mean = checkpoint(lambda t: (self.block(t), t.mean((2, 3))), y, use_reentrant=False)
        return self.fc(nn.functional.adaptive_avg_pool2d(maps, 1).flatten(1)) * mean[:, :1]


@torch.no_grad()
def test_checkpoints(built: list[FastModel]) -> None:
    model = lively(Checkpointed())
    fast = compiled(model)
    for batch in (2, 1, 3):
        got, truth = fast(photos(batch)), copy.deepcopy(model).double()(photos(batch).double())
        assert (got.double() - truth).norm() <= 1e-5 * truth.norm()
    assert built


class Nested(Network):
    """A region that is compiled once, in two places."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.again(x) - 0.5 * self.again(x.flip(3))

    @torch.compiler.nested_compile_region
    def again(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(self.stem(x)).mean((2, 3))


@torch.no_grad()
def test_nested_regions(built: list[FastModel]) -> None:
    model = lively(Nested())
    got, truth = compiled(model)(photos(2)), copy.deepcopy(model).double()(photos(2).double())
    assert (got.double() - truth).norm() <= 1e-5 * truth.norm()
    assert built


class Counts(Network):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.stem(x) * self.calls


class Video(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.unsqueeze(2).expand(-1, -1, 5, -1, -1) if x.dim() == 4 else x).relu().mean((3, 4))


@torch.no_grad()
@pytest.mark.parametrize(
    ("model", "shape", "reason"),
    [
        (Counts, (2, 3, 11, 9), "changes its state"),
        (Video, (2, 3, 5, 11, 9), "0 run on fast kernels.*got shape .2, 3, 5, 11, 9."),
        (lambda: nn.Conv1d(3, 4, 5), (2, 3, 40), "0 run on fast kernels.*got shape .2, 3, 40."),
    ],
    ids=["a buffer changes", "video", "sound"],
)
def test_what_cannot_be_taken_stays_as_it_is(model: Any, shape: tuple[int, ...], reason: str) -> None:
    """It runs, its buffers change, and a warning says so once; asked to be strict, it is refused."""
    module = model().eval()
    truth, fast = copy.deepcopy(module).double(), compiled(module)
    said = 0
    for seed in range(3):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            got, expected = fast(x), truth(x.double())
        said += sum("fast kernels" in str(w.message) and re.search(reason, str(w.message)) is not None for w in caught)
        assert (got.double() - expected).norm() <= 1e-6 * expected.norm()
    assert said == 1
    for name, buffer in truth.named_buffers():
        assert torch.equal(dict(module.named_buffers())[name].double(), buffer)
    torch._dynamo.reset()
    with pytest.raises(BackendCompilerFailed):
        compiled(model().eval(), options={"strict": True})(x)


@torch.no_grad()
def test_pieces_without_images() -> None:
    """A break in the user's code leaves a graph that reads weights alone."""

    class Breaks(Network):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.block(self.stem(x)).mean((2, 3))
            torch._dynamo.graph_break()
            weight = self.fc.weight * 2
            torch._dynamo.graph_break()
            return y @ weight.T

    model = lively(Breaks())
    warnings.simplefilter("error")
    got = torch.compile(model, backend=inception_fast_backend)(photos(2))
    truth = copy.deepcopy(model).double()(photos(2).double())
    assert (got.double() - truth).norm() <= 1e-5 * truth.norm()
