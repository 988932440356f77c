"""swap of a model that can be captured: it stays, and its forward pass is fast, as a whole or in parts."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

import inception_fast as ifast
from inception_fast import swap
from inception_fast.models.googlenet import Inception
from inception_fast.models.layers import BasicConv2d
from inception_fast.nn.in_place import InPlace
from inception_fast.nn.installed import is_in_place
from tests.nn.modules import lively
from tests.nn.test_swapping import Guard
from tests.partition.comparing import assert_keeps_promise
from tests.partition.models import MODELS, images
from tests.partition.models import model as model_of


class Flat(nn.Module):
    """A network in one piece of code, without parts that could be replaced, and ``between`` in the middle of it."""

    between: Callable[[Tensor], Tensor] = staticmethod(torch.relu)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.left, self.right = nn.Conv2d(12, 16, 1), nn.Conv2d(12, 16, 3, padding=1)
        self.last, self.head = nn.Conv2d(32, 16, 3), nn.Linear(16, 5)
        self.scale, self.mode = 1.0, "mean"

    def forward(self, x: Tensor) -> Tensor:
        x = self.between(F.relu(self.bn(self.stem(x))))
        x = F.relu(torch.cat([self.left(x), self.right(x)], 1)) * self.scale
        x = F.relu(self.last(x))
        return self.head(x.mean((2, 3)) if self.mode == "mean" else x.amax((2, 3)))


class FlatWithForeign(Flat):
    between = staticmethod(torch.erf)


class Detector(nn.Module):
    """Takes a list of images of any sizes, as torchvision's detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(BasicConv2d(3, 12, 3, padding=1), Inception(12, 4, 6, 8, 2, 4, 4))
        self.box = nn.Linear(20, 4)

    def forward(self, images: list[Tensor], *, scales: dict[str, float] | None = None) -> list[dict[str, Tensor]]:
        factor = (scales or {}).get("image", 1.0)
        maps = [self.backbone((image * factor)[None]) for image in images]
        return [{"boxes": self.box(m.mean((2, 3)))[0], "map": m} for m in maps]


def fast_of(model: nn.Module) -> InPlace:
    fast = vars(model)["forward"]
    assert isinstance(fast, InPlace)
    return fast


def swapped(make: Callable[[], nn.Module] = Flat, **options: Any) -> tuple[nn.Module, nn.Module]:
    """A swapped model, and the same as it was."""
    model = lively(make())
    original = copy.deepcopy(model)
    swap(model, images(2), **options)
    assert is_in_place(model)
    return model, original


@pytest.mark.parametrize("name", [n for n, (*_, any_batch) in MODELS.items() if any_batch])
def test_models_of_many_kinds(name: str) -> None:
    """Several inputs, dicts, bytes, video; foreign operators in all places."""
    model, (_, _, arguments, islands, _) = model_of(name), MODELS[name]
    original, keys, kind = copy.deepcopy(model), list(model.state_dict()), type(model)
    report = swap(model, arguments(2))
    assert [(r.path, r.kind) for r in report.replaced] == [("", "Parts")] and not report.left_alone
    assert len(report.replaced[0].reports[0].islands) == islands
    assert type(model) is kind and list(model.state_dict()) == keys and len(list(model.modules())) > 5
    for batch in (1, 2, 5):
        assert_keeps_promise(model, original, *arguments(batch))
    assert len(fast_of(model)._parts) == 1


@pytest.mark.parametrize(("make", "kind"), [(Flat, "Network"), (FlatWithForeign, "Parts")])
def test_flat_code(make: Callable[[], nn.Module], kind: str) -> None:
    """One foreign operator does not cost the rest; other image sizes and batches are taken, too."""
    model, original = swapped(make)
    assert fast_of(model).kind == kind
    for shape in ((2, 3, 24, 24), (1, 3, 24, 24), (3, 3, 17, 30)):
        assert_keeps_promise(model, original, torch.randn(shape))
    assert fast_of(model).memory and len(fast_of(model)._engines) + len(fast_of(model)._parts) == 2


def test_sizes_share_weights_and_the_limit() -> None:
    """Of parts as of engines."""
    model, original = swapped(FlatWithForeign)
    first = fast_of(model).memory
    with torch.no_grad():
        model(torch.randn(1, 3, 17, 30))
    weights = sum(p.nbytes for p in model.parameters())
    assert fast_of(model).memory < first + 2 * 2**20 + weights
    model, original = swapped(FlatWithForeign, memory_limit=first)
    with pytest.warns(UserWarning, match=r"1 kinds of arguments hold .* calls with a tensor \[1, 3, 17, 30\] run on"):
        assert_keeps_promise(model, original, torch.randn(1, 3, 17, 30))
    assert len(fast_of(model)._parts) == 1 and fast_of(model).memory <= first


def test_detector() -> None:
    """Lists, a keyword with a dict in it: the part that takes any batch is what is replaced."""
    model, given = lively(Detector()), [torch.rand(3, 30, 24), torch.rand(3, 20, 28)]
    original = copy.deepcopy(model)
    report = swap(model, (given,))
    assert [(r.path, len(r.reports)) for r in report.replaced] == [("backbone", 2)]
    assert_keeps_promise(model, original, given)
    assert_keeps_promise(model, original, given[:1], scales={"image": 0.5})
    report = swap(other := copy.deepcopy(original), {"images": given, "scales": {"image": 2.0}})
    assert report.replaced and list(other.state_dict()) == list(original.state_dict())
    assert_keeps_promise(other, original, images=given, scales={"image": 2.0})


class Calls(nn.Module):
    """Calls ``part`` with more than images, and branches on values itself."""

    def __init__(self, part: nn.Module, *rest: Any, **named: Any) -> None:
        super().__init__()
        self.part, self.rest, self.named = part, rest, named

    def forward(self, x: Tensor) -> Any:
        if not x.isfinite().all():
            raise ValueError
        return self.part(x, *self.rest, **self.named) if self.rest or self.named else self.part(images=x)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = Detector().backbone

    def forward(self, images: Tensor, factors: Any = 1.0, name: str = "") -> dict[str, Any]:
        factor = factors if isinstance(factors, float) else factors["by"][0]
        return {"maps": self.trunk(images * factor), "name": name}


@pytest.mark.parametrize(
    ("rest", "named"),
    [((2.0,), {}), ((), {"factors": {"by": [0.5]}, "name": "a"}), (({"by": (torch.tensor([[3.0]]),)},), {}), ((), {})],
)
def test_parts_with_any_arguments(rest: tuple[Any, ...], named: dict[str, Any]) -> None:
    model = lively(Calls(Scaled(), *rest, **named))
    original = copy.deepcopy(model)
    report = swap(model, images(2))
    assert [r.path for r in report.replaced] == ["part"] and type(model.part) is Scaled and is_in_place(model.part)
    assert_keeps_promise(model, original, images(2))
    assert_keeps_promise(model, original, images(4))


def test_the_same_by_position_and_by_name() -> None:
    model, original = swapped()
    assert_keeps_promise(model, original, x=images(3))
    assert len(fast_of(model)._engines) == 1 and not len(fast_of(model)._parts)


def test_what_cannot_be_served_runs_on_the_original_and_says_so_once() -> None:
    model = lively(Scaled())
    original = copy.deepcopy(model)
    swap(model, (images(2), {"by": [2.0]}))
    odd = {"by": [2.0], "other": {1, 2}}
    with pytest.warns(UserWarning, match=r"Scaled behind swap: called with a tensor .*, dict, it runs on the") as said:
        for _ in range(3):
            assert_keeps_promise(model, original, images(2), odd)
    assert len(said) == 1
    with pytest.raises(KeyError):
        model(images(2), {"nothing": 1})


def test_follows_weights_parts_and_attributes() -> None:
    for make in (Flat, FlatWithForeign):
        model, _ = swapped(make)
        other = lively(make(), seed=7)
        model.load_state_dict(other.state_dict())
        assert_keeps_promise(model, other, images(2))
        for twin in (model, other):
            twin.stem, twin.left.bias = lively(nn.Conv2d(3, 12, 3, padding=1, bias=False), 5), None
        assert_keeps_promise(model, other, images(2))
        for twin in (model, other):
            twin.scale, twin.mode = 0.5, "max"
        assert_keeps_promise(model, other, images(2))


def test_attributes_that_do_not_matter_cost_nothing() -> None:
    model, original = swapped()
    engine = fast_of(model).engine_for(images(1))
    model.count = 1
    assert_keeps_promise(model, original, images(2))
    model.count = 2
    assert fast_of(model).engine_for(images(1)) is engine


@pytest.mark.parametrize("make", [Flat, FlatWithForeign])
def test_copies_are_independent(make: Callable[[], nn.Module]) -> None:
    model, original = swapped(make)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert fast_of(twin).module is twin and fast_of(twin).key != fast_of(model).key
        with torch.no_grad():
            twin.stem.weight.mul_(2)
        own = copy.deepcopy(original)
        own.load_state_dict(twin.state_dict())
        assert_keeps_promise(twin, own, images(2))
        assert_keeps_promise(model, original, images(2))


def test_undo() -> None:
    model = lively(Flat())
    original, names = copy.deepcopy(model), set(vars(model))
    report = swap(model, images(2))
    assert is_in_place(model)
    report.undo()
    assert set(vars(model)) == names
    model.train()(images(2)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.eval().load_state_dict(original.state_dict())
    assert_keeps_promise(model, original, images(2))
    assert swap(model, images(2)).replaced


def test_a_second_swap_changes_nothing() -> None:
    model, _ = swapped()
    fast = fast_of(model)
    assert not swap(model, images(2)).replaced and fast_of(model) is fast


@pytest.mark.parametrize("make", [Flat, FlatWithForeign])
def test_training_and_gradients_are_refused(make: Callable[[], nn.Module]) -> None:
    model, _ = swapped(make)
    with pytest.raises(ifast.InputError, match="training: got True"):
        model.train()(images(2))
    model.eval()
    with pytest.raises(ifast.InputError, match="backward: got a gradient wanted"):
        model(images(2)).sum().backward()
    model.requires_grad_(False)
    assert not model(images(2)).requires_grad
    with pytest.raises(ifast.InputError, match="backward: got a gradient wanted"):
        model(images(2).requires_grad_()).sum().backward()


@pytest.mark.parametrize("make", [Flat, FlatWithForeign])
@torch.no_grad()
def test_autocast(make: Callable[[], nn.Module]) -> None:
    """The original's types; computed in the precision that was asked for."""
    model, original = swapped(make)
    with torch.autocast("cpu", torch.bfloat16):
        got, expected = model(images(2)), original(images(2))
        again = model(images(2).bfloat16())
    assert got.dtype == expected.dtype == again.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), original(images(2)), rtol=0.01, atol=0.01)
    torch.testing.assert_close(again.float(), original(images(2)), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("foreign", [nn.Identity(), nn.Softplus()])
@torch.no_grad()
def test_maps_have_the_format_of_the_images(layout: torch.memory_format, foreign: nn.Module) -> None:
    model = lively(nn.Sequential(Detector().backbone, foreign))
    original = copy.deepcopy(model)
    swap(model, images(2))
    x = images(2).contiguous(memory_format=layout)
    assert is_in_place(model) and model(x).is_contiguous(memory_format=layout)
    assert_keeps_promise(model, original, x)


def test_hooks_before_and_after() -> None:
    """They are called once each, with what the original would give them; nothing is built with them in the way."""
    model, seen = lively(Scaled()), []
    other = copy.deepcopy(model)
    for m in (model, other):
        m.trunk[1].branch1.register_forward_hook(lambda *a: seen.append(("branch", a[2])))
        m.register_forward_pre_hook(lambda *_: seen.append(("model", None)))
    report = swap(model, images(2))
    assert [(r.path, r.kind) for r in report.replaced] == [("", "Parts"), ("trunk.1.branch1", "ConvBNReLU")]
    seen.clear()
    with torch.no_grad():
        model(images(2))
        other(images(2))
    assert [name for name, _ in seen] == ["model", "branch"] * 2
    torch.testing.assert_close(seen[1][1], seen[3][1], rtol=1e-4, atol=1e-5)
    seen.clear()
    handle = model.trunk[0].conv.register_forward_hook(lambda m, i, o: seen.append(("conv", o)) or 2 * o)
    other.trunk[0].conv.register_forward_hook(lambda m, i, o: 2 * o)
    assert_keeps_promise(model, other, images(3))
    assert [name for name, _ in seen].count("conv") == 1
    assert type(seen[1][1]) is Tensor and len(seen[1][1]) == 3
    handle.remove()
    assert_keeps_promise(model, lively(Scaled()), images(2))


class Finite(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if not x.isfinite().all():
            raise ValueError("not finite")
        return x


class Positive(nn.Module):
    """As many images as have a positive mean: all of noise, and of live maps."""

    def forward(self, x: Tensor) -> Tensor:
        positive = [image for image in x if image.mean() > 0]
        return torch.stack(positive)


def around(part: nn.Module) -> nn.Module:
    return lively(nn.Sequential(Detector().backbone, part, Inception(20, 4, 6, 8, 2, 4, 4), nn.Flatten()))


def test_a_part_that_branches_on_values_is_a_cut() -> None:
    model = around(Finite())
    original = copy.deepcopy(model)
    report = swap(model, images(2))
    assert [(r.path, r.kind) for r in report.replaced] == [("", "Parts")]
    assert len(report.replaced[0].reports[0].islands) == 2
    for x in (images(2), images(5), images(1)[..., 3:]):
        assert_keeps_promise(model, original, x)
    assert_keeps_promise(copy.deepcopy(model), original, images(3))
    with pytest.raises(ValueError, match="not finite"):
        model(images(2) * float("nan"))


@torch.no_grad()
def test_a_cut_with_other_shapes_than_expected_runs_the_original() -> None:
    model, x = around(Positive()), images(3)
    original = copy.deepcopy(model)
    swap(model, x)
    assert is_in_place(model) and len(model(x)) == 3
    # The maps of images of nothing but zeros, where every layer has a negative bias, are zero too.
    for m in (model, original):
        for layer in m[0].modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.bias.fill_(-0.1)
                layer.running_mean.zero_()
    x[1] = 0
    with pytest.warns(UserWarning, match="Positive has returned"):
        got = model(x)
    assert len(got) == 2
    assert_keeps_promise(model, original, x)


def test_hooks_on_every_module_run_the_original() -> None:
    model, original = swapped()
    seen: list[nn.Module] = []
    handle = nn.modules.module.register_module_forward_hook(lambda m, *_: seen.append(m))
    try:
        assert_keeps_promise(model, original, images(2))
    finally:
        handle.remove()
    assert model.stem in seen


@torch.no_grad()
def test_in_graphs_of_pytorchs_compilers() -> None:
    """The operator where it is served as a whole, the original's operators where it is not."""
    for make, operator in ((Flat, "inception_fast.run.default"), (FlatWithForeign, "aten.convolution.default")):
        model, original = swapped(make)
        graph = make_fx(model)(images(2))
        assert operator in {str(n.target) for n in graph.graph.nodes}
        torch.testing.assert_close(graph(images(2)), original(images(2)), rtol=1e-4, atol=1e-5)
        torch._dynamo.reset()
        compiled = torch.compile(model, backend="aot_eager")
        torch.testing.assert_close(compiled(images(2)), original(images(2)), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("traced", [False, True])
def test_scripts_inside(traced: bool) -> None:
    """In a model that is captured, and as a part of one that is not; their parameters keep their names."""
    part = lively(Detector().backbone)
    script = torch.jit.trace(part, images(2)) if traced else torch.jit.script(part)
    for model, path in ((nn.Sequential(script, nn.Softplus()), ""), (Calls(nn.Sequential(script)), "part.0")):
        model.eval()
        plain = copy.deepcopy(model)
        (plain if path == "" else plain.part)[0] = part
        if path:
            plain.part, model.part = Positional(plain.part[0]), Positional(script)
            path = "part.inner"
        keys = list(model.state_dict())
        report = swap(model, images(2))
        assert [r.path for r in report.replaced] == [path] and list(model.state_dict()) == keys
        assert_keeps_promise(model, plain, images(2))


class Positional(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        if images.isnan().any():
            raise ValueError
        return self.inner(images)


def test_undone_where_the_model_does_not_run() -> None:
    def refuse(module: nn.Module, *_: object) -> None:
        if is_in_place(module):
            raise RuntimeError("it has changed")

    model = lively(Flat())
    model.register_forward_hook(refuse)
    names = set(vars(model))
    with pytest.raises(ifast.InceptionFastError, match="was restored: it has changed"):
        swap(model, images(2))
    assert set(vars(model)) == names
    assert_keeps_promise(model, lively(Flat()), images(2))


class ChannelsLast(nn.Module):
    """Takes ``[N, H, W, C]``, as some libraries do."""

    def __init__(self, guard: nn.Module) -> None:
        super().__init__()
        self.guard, self.body = guard, Detector().backbone

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(self.guard(x).permute(0, 3, 1, 2))  # type: ignore[no-any-return]


@pytest.mark.parametrize("guard", [nn.Identity(), Guard()], ids=["whole", "parts"])
@torch.no_grad()
def test_maps_of_images_with_channels_last(guard: nn.Module) -> None:
    model = lively(ChannelsLast(guard))
    original = copy.deepcopy(model)
    swap(model, images(2).permute(0, 2, 3, 1).contiguous())
    for x in (images(2).permute(0, 2, 3, 1).contiguous(), images(3).permute(0, 2, 3, 1)):
        got, expected = model(x), original(x)
        assert got.stride() == expected.stride()
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
