"""Plans for further image sizes, against those of networks that are prepared anew."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn

from inception_fast.backends import get_backend
from inception_fast.backends.base import Lowering
from inception_fast.compilation import make_engine
from inception_fast.errors import InputError
from inception_fast.graph import ir
from inception_fast.graph.capture import capture
from inception_fast.graph.passes import report_passes, run_passes
from inception_fast.lowering import sensitivity
from inception_fast.lowering.lower import lowered
from inception_fast.plan.plan import Sensitivity
from inception_fast.template import MOST_TEMPLATES, Known, Template
from tests.fuzz.as_graph import as_graph
from tests.fuzz.generate import generate
from tests.fuzz.module import module

OPTIONS = (Lowering(), Lowering(merge_taps=True, fuse_functions=False), get_backend("cpu").lowering)
SIZES = ((8, 8), (9, 13), (16, 10), (31, 33))


def template_of(graph: ir.Graph, lowering: Lowering, dtype: str = "float32") -> Template:
    start, stages = run_passes(graph, lowering)
    return Template.of(start, stages, {}, lowered(stages[-1].graph, dtype))


def image_of(graph: ir.Graph) -> tuple[int, int]:
    assert isinstance(graph.input.op, ir.Input)
    _, height, width = graph.input.op.shape
    return height, width


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_random_networks(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """What a template gives for another size is what preparing the network for that size gives."""
    # One measurement does for all sizes.
    monkeypatch.setattr(sensitivity, "MOST_SIDE", 1)
    made = 0
    for seed, lowering in product(range(40), OPTIONS):
        network = generate(seed)
        graph = as_graph(network, module(network)[0])
        template = template_of(graph, lowering, dtype)
        for size in {image_of(graph), *SIZES}:
            found = template.at(*size)
            if found is None:
                continue
            start, stages = run_passes(graph.at(*size), lowering)
            anew = lowered(stages[-1].graph, dtype)
            assert found == (anew.plan, report_passes(start, stages)), (seed, size)
            assert template.found.constants.keys() == anew.constants.keys()
            assert all(map(_same, template.found.constants.values(), anew.constants.values())), (seed, size)
            made += size != image_of(graph)
    assert made > 100


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a.nan_to_num(123.0), b.nan_to_num(123.0))


class Pooled(nn.Module):
    """Two pools whose results are alike for some sizes, so that a sum of both is refused for the others."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.pool = nn.AvgPool2d(3, 1, 1)
        self.after = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.pool(torch.relu(self.conv(x))))  # type: ignore[no-any-return]


def test_weights_are_rounded_otherwise_where_windows_leave_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "MOST_SIDE", 1)
    graph = capture(Pooled().eval(), torch.zeros(1, 3, 16, 16)).graph
    template = template_of(graph, Lowering())
    assert template.at(12, 40) is not None
    # A 3x3 window sees all of its taps in a quarter of an image of 4x4 pixels.
    assert template.at(4, 4) is None


def test_an_image_too_small_for_the_network_has_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "MOST_SIDE", 1)
    graph = capture(nn.Conv2d(3, 4, 5).eval(), torch.zeros(1, 3, 16, 16)).graph
    template = template_of(graph, Lowering())
    assert template.at(6, 9) is not None
    assert template.at(4, 9) is None


def test_sizes_of_which_another_would_be_measured_are_prepared_anew() -> None:
    graph = capture(Pooled().eval(), torch.zeros(1, 3, 200, 200)).graph
    template = template_of(graph, Lowering())
    assert template.at(192, 300) is not None
    assert template.at(191, 300) is None


def test_a_small_size_is_like_itself() -> None:
    """Not like the one on its side."""
    template = template_of(capture(Pooled().eval(), torch.zeros(1, 3, 20, 30)).graph, Lowering())
    assert template.at(20, 30) is not None
    assert template.at(30, 20) is None


def test_a_template_has_no_values() -> None:
    template = template_of(capture(Pooled().eval(), torch.zeros(1, 3, 20, 20)).graph, Lowering())
    graphs = [template.start, *(stage.graph for stage in template.stages)]
    assert all(graph.params and all(p.is_meta for p in graph.params.values()) for graph in graphs)


def test_engines_of_one_network_have_one_set_of_constants() -> None:
    model, known = Pooled().eval(), Known()
    lowering = get_backend("reference").lowering
    engines = [
        make_engine(capture(model, x := torch.zeros(1, 3, *size)), x, "fp32", lowering, known=known)
        for size in ((192, 200), (192, 211), (300, 192))
    ]
    assert len(known) == 1
    assert all(e.constants is engines[0].constants for e in engines)
    assert [e.metadata.input_shape for e in engines] == [(3, 192, 200), (3, 192, 211), (3, 300, 192)]
    x = torch.zeros(1, 3, 192, 211)
    assert engines[1].plan == make_engine(capture(model, x), x, "fp32", lowering).plan


def test_sizes_that_round_weights_otherwise_are_known_side_by_side() -> None:
    """A 1x7 window sees all of its taps at 13 columns and more: two sets of its weights, one of all others."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 16, 16), nn.Conv2d(4, 6, (1, 7), padding=(0, 3)), nn.BatchNorm2d(6)).eval()
    model[2].running_var.fill_(3.7)
    known, lowering = Known(), get_backend("reference").lowering

    def constants(size: int) -> dict[str, torch.Tensor]:
        x = torch.zeros(1, 3, size, size)
        return dict(make_engine(capture(model, x), x, "fp32", lowering, known=known).constants)

    wide, narrow = constants(13 * 16), constants(12 * 16)
    assert len(known) == 2
    again = [constants(14 * 16), constants(12 * 16 + 1)]
    assert len(known) == 2
    for one, other in zip((wide, narrow), again, strict=True):
        assert all(other[name] is tensor for name, tensor in one.items())
    different = {name for name in wide if wide[name] is not narrow[name]}
    assert different and all(name.endswith("weight") and wide[name].shape[1] == 7 for name in different)


def test_the_oldest_template_makes_room() -> None:
    known = Known()
    graph = capture(Pooled().eval(), torch.zeros(1, 3, 200, 200)).graph
    template = template_of(graph, Lowering())
    for key in range(MOST_TEMPLATES + 1):
        known.keep(key, template)
    assert len(known) == MOST_TEMPLATES
    assert known.at(0, 210, 210) is None
    assert known.at(1, 210, 210) is not None


def test_other_weights_are_another_network() -> None:
    model, known, lowering = Pooled().eval(), Known(), get_backend("reference").lowering
    x = torch.zeros(1, 3, 192, 192)
    first = make_engine(capture(model, x), x, "fp32", lowering, known=known)
    with torch.no_grad():
        model.after.bias[1] += 1
    second = make_engine(capture(model, x), x, "fp32", lowering, known=known)
    assert len(known) == 2
    assert any(not torch.equal(first.constants[name], t) for name, t in second.constants.items())


def test_sensitivities_go_with_the_template() -> None:
    graph = capture(Pooled().eval(), torch.zeros(1, 3, 200, 200)).graph
    start, stages = run_passes(graph, Lowering())
    measured = {"relu": Sensitivity(3.0, 2.0)}
    found = lowered(stages[-1].graph, "float32", measured)
    at = Template.of(start, stages, measured, found).at(220, 240)
    assert at is not None
    assert at[0] == lowered(run_passes(graph.at(220, 240), Lowering())[1][-1].graph, "float32", measured).plan
    assert at[0] != lowered(run_passes(graph.at(220, 240), Lowering())[1][-1].graph, "float32").plan


def test_arms_that_are_one_convolution_at_even_sizes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """1x2 and 2x1 of stride 2 give images of one size where height and width are even."""
    monkeypatch.setattr(sensitivity, "MOST_SIDE", 1)

    class Arms(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.row, self.column = nn.Conv2d(3, 4, (1, 2), 2), nn.Conv2d(3, 4, (2, 1), 2)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.row(x), self.column(x)

    lowering = Lowering(merge_taps=True)
    even, odd = (template_of(capture(Arms().eval(), torch.zeros(1, 3, n, n)).graph, lowering) for n in (8, 9))
    assert len(even.found.plan.steps) == 1 and len(odd.found.plan.steps) == 2
    assert even.at(10, 12) is not None and odd.at(11, 13) is not None
    for size in ((9, 9), (8, 11), (11, 8)):
        assert even.at(*size) is None
    for size in ((8, 8), (10, 14)):
        assert odd.at(*size) is None


def test_a_linear_layer_over_all_pixels_wants_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "MOST_SIDE", 1)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 24, 5)).eval()
    template = template_of(capture(network, torch.zeros(1, 3, 4, 14)).graph, Lowering())
    # Maps of 2x12 and of 4x6 pixels have as many values.
    other = template.at(6, 8)
    assert other is not None
    assert (
        other[0] == lowered(run_passes(capture(network, torch.zeros(1, 3, 6, 8)).graph, Lowering())[1][-1].graph).plan
    )
    assert template.at(6, 9) is None


def test_a_graph_at_another_size_is_refused_where_it_is_too_small() -> None:
    graph = capture(nn.Conv2d(3, 4, 5).eval(), torch.zeros(1, 3, 16, 16)).graph
    assert graph.at(5, 7).shapes[graph.outputs[0]] == (4, 1, 3)
    with pytest.raises(InputError, match="image size"):
        _ = graph.at(5, 4).shapes
