"""What capture cannot serve is refused in words that say what to do about it. Every message is read here."""

from __future__ import annotations

import importlib
import inspect
import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inception_fast.errors import CaptureError, InputError, InputTypeError, UnsupportedOpError
from inception_fast.graph.capture import capture
from tests.graph.capturing import SHAPE, Model, example, relative_error

Forward = Callable[[Any, Tensor], Any]


class Inner(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(x)


def test_an_unsupported_op_is_named_with_its_module_and_line() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ModuleDict({"act": Inner()})["act"]).eval()
    with pytest.raises(UnsupportedOpError) as caught:
        capture(model, example())
    lines, start = inspect.getsourcelines(Inner.forward)
    line = start + next(i for i, text in enumerate(lines) if "softplus" in text)
    error = caught.value
    assert (error.op, error.module) == ("aten.softplus.default", "1")
    assert error.source == f"{__file__}:{line}"
    assert str(error) == (
        f"operator aten.softplus.default in module '1' at {__file__}:{line}: the Inception family has no such operation"
    )


def test_the_line_is_the_user_s_where_a_layer_of_pytorch_calls_the_op() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.Softplus()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(x)

    with pytest.raises(UnsupportedOpError) as caught:
        capture(Outer().eval(), example())
    assert caught.value.module == "act"
    assert caught.value.source == f"{__file__}:{inspect.getsourcelines(Outer.forward)[1] + 1}"


v = torch.ones(4, 1, 1)
OF_A_NORM = "it is applied to a norm, which may only divide the tensor that it was taken of"

UNSUPPORTED: dict[str, tuple[Forward, str, str]] = {
    "error function": (lambda m, x: x.erf(), "aten.erf.default", "the Inception family has no such operation"),
    "threshold": (lambda m, x: F.threshold(x, 1.0, 2.0), "aten.threshold.default",
                  "below 1.0 it is 2.0: only a maximum is supported"),
    "beyond float32": (lambda m, x: F.leaky_relu(x, 1e39), "aten.leaky_relu.default",
                       "(1e+39, 0.0) are no float32 numbers"),
    "a bound beyond float32": (lambda m, x: x.clamp(max=-1e39), "aten.clamp.default",
                               "(0.0, -1e+39) are no float32 numbers"),
    "scaled in front of an exponential": (lambda m, x: torch.ops.aten.elu(x, 1.0, 1.5, 2.0), "aten.elu.default",
                                          "input_scale 2.0 is not supported"),
    "maximum of a number of five dimensions": (lambda m, x: torch.maximum(x, torch.ones(1, 1, 1, 1, 1)),
                                               "aten.maximum.default", "the second operand is no number"),
    "maximum of two": (lambda m, x: torch.maximum(x, F.relu(-x)), "aten.maximum.default",
                       "its second operand depends on the input"),
    "minimum by channel": (lambda m, x: torch.minimum(x, v), "aten.minimum.default",
                           "the second operand is no number"),
    "softmax over rows": (lambda m, x: x.softmax(2), "aten.softmax.int", "only one over the channels is supported"),
    "softmax over a plane's rows": (lambda m, x: x[:, 0].softmax(1), "aten.softmax.int",
                                    "only one over the channels is supported"),
    "mean of a plane's rows": (lambda m, x: x[:, 0].mean(2), "aten.mean.dim",
                               "only all pixels of a channel can be reduced"),
    "transposed": (lambda m, x: F.conv_transpose2d(x, torch.ones(4, 2, 1, 1)), "aten.conv_transpose2d.input",
                   "the Inception family has no such operation"),
    "transposed, by the general op": (
        lambda m, x: torch.convolution(x, torch.ones(4, 2, 1, 1), None, (1, 1), (0, 0), (1, 1), True, (0, 0), 1),
        "aten.convolution.default", "transposed convolutions are not supported"),
    "volume": (lambda m, x: F.conv3d(x.unsqueeze(2), torch.ones(4, 4, 1, 1, 1)), "aten.conv3d.default",
               "the Inception family has no such operation"),
    "flat convolution": (lambda m, x: F.conv2d(x.view(-1, 4, 63, 1).flatten(2).unsqueeze(-1), torch.ones(4, 4, 1, 1)),
                         "aten.conv2d.default", "a tensor of shape (N, 4, 63, 1) made from (N, 4, 7, 9)"),
    "planes": (lambda m, x: F.max_pool2d(x[:, 0], 2), "aten.max_pool2d.default",
               "it is applied to (N, 7, 9) in place of images (N, C, H, W)"),
    "computed weight": (lambda m, x: F.linear(x.mean((2, 3)), x.mean((2, 3))), "aten.linear.default",
                        "its weight depends on the input"),
    "mean over images": (lambda m, x: x - x.mean((0, 2, 3), keepdim=True), "aten.mean.dim",
                         "only all pixels of a channel can be reduced"),
    "reflection": (lambda m, x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "aten.pad.default",
                   "only padding with a constant is supported, not mode 'reflect'"),
    "padding with infinity": (lambda m, x: F.pad(x, (1, 1), value=torch.inf), "aten.pad.default",
                              "padding with inf is not supported"),
    "padding beyond float32": (lambda m, x: F.pad(x, (1, 1), value=1e39), "aten.pad.default",
                               "padding with 1e+39 is not supported"),
    "padding with no number": (lambda m, x: F.pad(x, (1, 1), value=torch.nan), "aten.pad.default",
                               "padding with nan is not supported"),
    "numbers around minus infinity": (lambda m, x: F.pad(F.pad(x, (1, 1), value=-torch.inf), (1, 1)),
                                      "aten.pad.default", "it is applied to a tensor padded with minus infinity, "
                                      "which only a max pool takes"),
    "minus infinity around a convolution": (lambda m, x: F.conv2d(F.pad(x, (1, 1), value=-torch.inf),
                                                                  torch.ones(2, 4, 1, 1)), "aten.conv2d.default",
                                            "it is applied to a tensor padded with minus infinity, which only a max "
                                            "pool takes"),
    "a window of nothing": (lambda m, x: F.max_pool2d(F.pad(x, (3, 0), value=-torch.inf), 3), "aten.max_pool2d.default",
                            "a window lies outside of the image"),
    "a window of nothing at the end": (lambda m, x: F.max_pool2d(F.pad(x, (0, 3), value=-torch.inf), 3),
                                       "aten.max_pool2d.default", "a window lies outside of the image"),
    "a row of nothing at the end": (lambda m, x: F.max_pool2d(F.pad(x, (0, 0, 0, 2), value=-torch.inf), 2, 1),
                                    "aten.max_pool2d.default", "a window lies outside of the image"),
    "padding besides, and nothing else": (lambda m, x: F.max_pool2d(F.pad(x, (2, 0), value=-torch.inf), 3, 1, 1),
                                          "aten.max_pool2d.default", "a window lies outside of the image"),
    "padding the channels": (lambda m, x: F.pad(x, (0, 0, 0, 0, 0, 1)), "aten.pad.default",
                             "only height and width can be padded"),
    "cropping": (lambda m, x: F.pad(x, (-1, 0)), "aten.pad.default", "negative padding is not supported"),
    "padding in front of a sum": (lambda m, x: F.pad(x, (1, 1)) + 1, "aten.add.Tensor",
                                  "it is applied to a padded tensor, which only a convolution or a pool takes"),
    "batch statistics": (lambda m, x: F.batch_norm(x, None, None, training=True), "aten.batch_norm.default",
                         "it takes its statistics from the batch, so images would depend on each other"),
    "divisor_override": (lambda m, x: F.avg_pool2d(x, 2, divisor_override=3), "aten.avg_pool2d.default",
                         "divisor_override is not supported"),
    "max pool indices": (lambda m, x: F.max_pool2d(x, 2, return_indices=True)[1].float(),
                         "aten.max_pool2d_with_indices.default", "only its first result is supported"),
    "mean of rows": (lambda m, x: x.mean(2), "aten.mean.dim", "only all pixels of a channel can be reduced"),
    "mean of channels": (lambda m, x: x.mean(1, True), "aten.mean.dim", "only all pixels of a channel can be reduced"),
    "mean of everything": (lambda m, x: x * x.mean(), "aten.mean.default",
                           "the Inception family has no such operation"),
    "nearest": (lambda m, x: F.interpolate(x, (5, 5)), "aten.upsample_nearest2d.vec",
                "the Inception family has no such operation"),
    "antialiasing": (lambda m, x: F.interpolate(x, (5, 5), mode="bilinear", antialias=True),
                     "aten._upsample_bilinear2d_aa.vec", "interpolation with antialiasing is not supported"),
    "uneven height": (lambda m, x: F.interpolate(x, scale_factor=(1.3, 2.0), mode="bilinear"),
                      "aten.upsample_bilinear2d.vec",
                      "the scale factor [1.3, 2.0] does not give a whole number of pixels; use size="),
    "uneven width": (lambda m, x: F.interpolate(x, scale_factor=(2.0, 1.3), mode="bilinear"),
                     "aten.upsample_bilinear2d.vec",
                     "the scale factor [2.0, 1.3] does not give a whole number of pixels; use size="),
    "product of planes": (lambda m, x: x[:, 0] * x[:, 1], "aten.mul.Tensor",
                          "it multiplies tensors of shapes that are neither equal nor a gate's"),
    "volume pool": (lambda m, x: F.avg_pool3d(x, 2), "aten.avg_pool3d.default",
                    "only the one in a local response norm is supported"),
    "quotient": (lambda m, x: x / F.relu(x), "aten.div.Tensor",
                 "division by a tensor that depends on the input is not supported"),
    "broadcast sum": (lambda m, x: x + x.mean((2, 3), keepdim=True), "aten.add.Tensor",
                      "tensors of different shapes are added"),
    "constant per row of a plane": (lambda m, x: x[:, 0] + torch.arange(7).view(7, 1), "aten.add.Tensor",
                                    "the constant differs between pixels"),
    "constant per pixel": (lambda m, x: x + torch.arange(9), "aten.add.Tensor",
                           "the constant differs between pixels"),
    "constant that enlarges": (lambda m, x: x[:, :1] * v, "aten.mul.Tensor", "the constant enlarges the tensor"),
    "constant with more dimensions": (lambda m, x: x * v[None, None], "aten.mul.Tensor",
                                      "the constant has more dimensions than the tensor"),
    "batch size as a number": (lambda m, x: x / x.shape[0], "aten.div.Tensor",
                               "it computes with the number of images"),
    "active dropout": (lambda m, x: F.dropout(x), "aten.dropout.default",
                       "dropout is active; it must follow the training flag"),
    "active native dropout": (lambda m, x: torch.native_dropout(x, 0.5, True)[0], "aten.native_dropout.default",
                              "dropout is active; it must follow the training flag"),
    "noise": (lambda m, x: x + torch.randn(4, 1, 1), "aten.randn.default", "its result is random"),
    "zeros per image": (lambda m, x: torch.cat([x, torch.zeros(x.shape[0], 1, 7, 9)], 1), "aten.zeros.default",
                        "its result depends on the number of images"),
    "concatenated constant": (lambda m, x: torch.cat([x.mean((2, 3)), torch.ones(2, 4)], 0),
                              "aten.cat.default", "it is applied to a constant"),
    "concatenated rows": (lambda m, x: torch.cat([x, x], 2), "aten.cat.default", "only channels can be concatenated"),
    "concatenated flattened images": (lambda m, x: torch.cat([F.relu(x).flatten(1), x.flatten(1)], 1),
                                      "aten.cat.default", "only channels can be concatenated, no flattened images"),
    "one flattened image twice": (lambda m, x: torch.cat([x.flatten(1), x.flatten(1)], 1), "aten.cat.default",
                                  "only channels can be concatenated, no flattened images"),
    "no channel": (lambda m, x: torch.cat([x, x[:, []]], 1), "aten.index.Tensor", "it leaves no channel"),
    "stacked images": (lambda m, x: torch.stack([x, x], 2).flatten(1, 2), "aten.stack.default",
                       "only channels can be stacked"),
    "every other channel": (lambda m, x: x[:, ::2], "aten.slice.Tensor", "only slices of step 1 are supported"),
    "channels in a mask": (lambda m, x: x[:, torch.tensor([True, False, True, True])], "aten.index.Tensor",
                           "its index is no list of channels"),
    "channels and rows by an index": (lambda m, x: x[:, [0, 1], [1, 2]].unsqueeze(1), "aten.index.Tensor",
                                      "only channels can be chosen by an index"),
    "a plane's column": (lambda m, x: x[:, 0][:, 0], "aten.select.int", "only channels can be sliced"),
    "planes, then channels": (lambda m, x: x[:, 0][:, 1:3], "aten.slice.Tensor", "only channels can be sliced"),
    "rows one by one": (lambda m, x: x.unbind(2)[0], "aten.unbind.int", "only channels can be split"),
    "rows in parts": (lambda m, x: x.split([3, 4], 2)[0], "aten.split_with_sizes.default",
                      "only channels can be split"),
    "channels and rows flipped": (lambda m, x: x.flip(1, 2), "aten.flip.default", "only channels can be flipped"),
    "crop": (lambda m, x: x[:, :, 1:], "aten.slice.Tensor", "height and width cannot be sliced"),
    "one row": (lambda m, x: x[:, :, 2], "aten.select.int", "a single row or column cannot be taken"),
    "one image": (lambda m, x: x[0], "aten.select.int", "it takes one image of the batch"),
    "two images": (lambda m, x: x[:2], "aten.slice.Tensor", "it takes some images of the batch only"),
    "split rows": (lambda m, x: x.split(3, 2)[0], "aten.split.Tensor", "only channels can be split"),
    "flipped rows": (lambda m, x: x.flip(2), "aten.flip.default", "only channels can be flipped"),
    "squeeze": (lambda m, x: x.mean((2, 3), keepdim=True).squeeze(), "aten.squeeze.default",
                "without a dimension it would drop the batch of a single image; use flatten(1)"),
    "squeeze(0)": (lambda m, x: x.mean((2, 3)).squeeze(0), "aten.squeeze.dim",
                   "squeeze(0) would drop the batch of a single image"),
    "flattened batch": (lambda m, x: x.flatten(0, 1), "aten.flatten.using_ints", "it mixes the images of a batch"),
    "viewed batch": (lambda m, x: x.view(-1, 9), "aten.view.default", "it mixes the images of a batch"),
    "new first dimension": (lambda m, x: x.unsqueeze(0), "aten.unsqueeze.default", "it mixes the images of a batch"),
    "returned in three dimensions": (lambda m, x: F.relu(x).flatten(2), "aten.flatten.using_ints",
                                     "the model returns a tensor of shape (N, 4, 63) made from (N, 4, 7, 9)"),
    "channels last": (lambda m, x: x.permute(0, 2, 3, 1), "aten.permute.default",
                      "the model returns images whose channels are not their first dimension"),
    "function of turned images": (lambda m, x: F.relu(x.permute(0, 2, 3, 1)), "aten.relu.default",
                                  "it is applied to images whose channels are not their first dimension"),
    "turned images and others": (lambda m, x: x.permute(0, 2, 3, 1) * x.mean((2, 3)).unsqueeze(1).unsqueeze(1),
                                 "aten.mul.Tensor",
                                 "it is applied to images whose channels are not their first dimension"),
    "turned batch": (lambda m, x: x.transpose(0, 1), "aten.transpose.int", "it mixes the images of a batch"),
    "turned tokens": (lambda m, x: x.flatten(2).transpose(1, 2), "aten.transpose.int",
                      "it is applied to (N, 4, 63) in place of images (N, C, H, W)"),
    "turned vectors": (lambda m, x: F.linear(x.mean((2, 3)), torch.ones(4, 4)).view(-1, 4, 1, 1).permute(0, 2, 3, 1),
                       "aten.permute.default", "only the dimensions of images can change places"),
    "expanded by a dimension": (lambda m, x: x.expand(2, -1, -1, -1, -1), "aten.expand.default",
                                "its shape is not fixed"),
    "expanded to as many channels as images": (lambda m, x: x[:, :1].expand(-1, x.shape[0], -1, -1),
                                               "aten.expand.default", "its shape is not fixed"),
    "turned views": (lambda m, x: x.view(-1, 9, 4, 7).permute(0, 2, 3, 1), "aten.permute.default",
                     "only the dimensions of images can change places"),
    "rows by an index": (lambda m, x: x[:, :, [1, 0]], "aten.index.Tensor", "only channels can be chosen by an index"),
    "rows in an order": (lambda m, x: x.index_select(2, torch.tensor([1])), "aten.index_select.default",
                         "only channels can be chosen by an index"),
    "channels in a table": (lambda m, x: x[:, torch.tensor([[0, 1], [1, 0]])], "aten.index.Tensor",
                            "its index is no list of channels"),
    "linear over pixels": (lambda m, x: F.linear(x, torch.ones(2, 9)), "aten.linear.default",
                           "only flat inputs (N, C) are supported"),
    "half the way": (lambda m, x: F.relu(x.half()), "aten.to.dtype",
                     "it changes the type from float32 to float16"),
    "comparison": (lambda m, x: (x > 0).to(x.dtype), "aten.gt.Scalar", "the Inception family has no such operation"),
    "L1 norm": (lambda m, x: F.normalize(x, p=1), "aten.linalg_vector_norm.default",
                "only the L2 norm is supported, not order 1"),
    "norm of rows": (lambda m, x: F.normalize(x, dim=2), "aten.linalg_vector_norm.default",
                     "only the norm over the channels is supported"),
    "norm of another tensor": (lambda m, x: F.relu(x) / x.norm(2, 1, True), "aten.div.Tensor",
                               "a norm may only divide the tensor that it was taken of"),
    "norm bounded above": (lambda m, x: x / x.norm(2, 1, True).clamp(1e-3, 5.0), "aten.clamp.default", OF_A_NORM),
    "norm bounded by nothing": (lambda m, x: x / x.norm(2, 1, True).clamp(max=torch.inf), "aten.clamp.default",
                                OF_A_NORM),
    "norm of everything": (lambda m, x: x.mean((2, 3)) / torch.linalg.vector_norm(x.mean((2, 3)), dim=None),
                           "aten.linalg_vector_norm.default", "only the norm over the channels is supported"),
    "norm of planes": (lambda m, x: x[:, 0] / x[:, 0].norm(2, 1, True), "aten.linalg_vector_norm.default",
                       "only the norm over the channels is supported"),
    "norm of channels and rows": (lambda m, x: x / x.norm(2, (1, 2), True), "aten.linalg_vector_norm.default",
                                  "only the norm over the channels is supported"),
    "norm of the same, moved": (lambda m, x: (x + 1) / x.norm(2, 1, True), "aten.div.Tensor",
                                "a norm may only divide the tensor that it was taken of"),
    "norm expanded to more channels": (lambda m, x: x[:, :1] / x[:, :1].norm(2, 1, True).expand(-1, 3, -1, -1),
                                       "aten.expand.default",
                                       "a norm is expanded to another shape than its tensor's"),
    "norm by itself": (lambda m, x: x.norm(2, 1, True), "aten.linalg_vector_norm.default",
                       "the model returns a norm, which may only divide the tensor that it was taken of"),
    "sum with a norm": (lambda m, x: x + x.norm(2, 1, True), "aten.add.Tensor",
                        "it is applied to a norm, which may only divide the tensor that it was taken of"),
    "repeated channels": (lambda m, x: x[:, :1].expand(-1, 3, -1, -1), "aten.expand.default",
                          "the model returns a repeated tensor, which may only multiply another"),
}  # fmt: skip


@pytest.mark.parametrize(("forward", "op", "reason"), UNSUPPORTED.values(), ids=list(UNSUPPORTED))
def test_unsupported(forward: Forward, op: str, reason: str) -> None:
    with pytest.raises(UnsupportedOpError) as caught:
        capture(Model(forward), example())
    error = caught.value
    assert (error.op, error.reason) == (op, reason)
    assert error.module == "" and error.source.startswith(f"{inspect.getfile(Model)}:")


def test_as_many_constants_in_a_row_as_channels() -> None:
    with pytest.raises(UnsupportedOpError, match="the constant differs between pixels"):
        capture(Model(lambda m, x: x + torch.arange(2)), example((2, 3, 2)))


def test_a_norm_that_lines_up_with_rows() -> None:
    """The norm of the pixels of one column, of an image as high as it has channels."""
    with pytest.raises(UnsupportedOpError, match="the norm does not line up with the channels"):
        capture(Model(lambda m, x: x / x.norm(2, 1).unsqueeze(2)), example((4, 4, 9)))


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


REMEDY = "; inception_fast.swap replaces those parts of a model that can be traced, and leaves the others as they are"
NOT_SO = f"as it runs; a fast module could not do so{REMEDY}"
UNTRACEABLE: dict[str, tuple[nn.Module, str]] = {
    "fixed batch": (Model(lambda m, x: x.view(2, -1)),
                    "it fixes the batch size or treats some batch sizes differently"),
    "constant per image": (Model(lambda m, x: x + torch.ones(2, 1, 1, 1)),
                           "it fixes the batch size or treats some batch sizes differently"),
    "branch on the batch": (Model(lambda m, x: x * 2 if x.shape[0] > 4 else x),
                            "it fixes the batch size or treats some batch sizes differently"),
    "numpy": (Model(lambda m, x: x.numpy()), "numpy"),
    "set": (Model(lambda m, x: {x * 2}), "'set'"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "reason"), UNTRACEABLE.values(), ids=list(UNTRACEABLE))
def test_untraceable(model: nn.Module, reason: str) -> None:
    with pytest.raises(CaptureError, match=re.escape(reason)) as caught:
        capture(model, example())
    message = str(caught.value)
    assert message.startswith("torch.export cannot trace the model for images of 4x7x9: ")
    assert len(message) < 360 and message.endswith(REMEDY) and "\n" not in message
    assert caught.value.__cause__ is not None


class Asks(nn.Module):
    """``if``s of a value that depends on the image, and of one that does not."""

    def __init__(self, constant: bool) -> None:
        super().__init__()
        self.constant = constant
        self.register_buffer("std", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        asked = self.std if self.constant else x
        return x * 2 if asked.min() == 0 else x * 3


@pytest.mark.parametrize("constant", [True, False])
def test_a_value_asked_for_is_named_with_its_module_and_line(constant: bool, capfd: pytest.CaptureFixture[str]) -> None:
    model = nn.Sequential(nn.ModuleDict({"inner": Asks(constant)})["inner"]).eval()
    with pytest.raises(CaptureError) as caught:
        capture(model, example())
    line = inspect.getsourcelines(Asks.forward)[1] + 2
    assert str(caught.value) == (
        f"module '0' asks for a tensor's value in Python at {__file__}:{line}, which a trace does not have; "
        "decide on Python's own numbers, or when the module is made, or let inception_fast.swap replace its parts"
    )
    assert capfd.readouterr() == ("", ""), "PyTorch's pages"


class Erases(nn.Module):
    """As transforms do that ask for what they were given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        functional = importlib.import_module("torchvision.transforms.functional")
        return functional.normalize(x, [0.4] * 3, torch.full((3,), 0.2))


def test_a_transform_that_asks_for_values_has_a_sister_that_does_not() -> None:
    pytest.importorskip("torchvision.transforms")
    with pytest.raises(CaptureError, match=r"module '0' .*take the transform .* from torchvision\.transforms\.v2"):
        capture(nn.Sequential(Erases()).eval(), example((3, 4, 4)))


@pytest.mark.parametrize("inplace", [False, True])
def test_a_transform_decides_on_its_own_numbers(inplace: bool) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    before = importlib.import_module("torchvision.transforms._functional_tensor").normalize
    model = nn.Sequential(nn.ReLU(), transforms.Normalize([0.4, 0.1, 0.3], [0.2, 0.5, 1.5], inplace)).eval()
    captured = capture(model, example((3, 4, 4)))
    assert [n.op.kind for n in captured.graph.nodes] == ["Input", "ReLU", "Affine"]
    assert relative_error(captured, model, torch.rand(2, 3, 4, 4)) <= 1e-7
    assert importlib.import_module("torchvision.transforms._functional_tensor").normalize is before
    with pytest.raises(InputError, match="std evaluated to zero"):
        capture(nn.Sequential(transforms.Normalize([0.4] * 3, [0.2, 0.0, 0.2])).eval(), example((3, 4, 4)))


UNRUNNABLE: dict[str, tuple[nn.Module, str]] = {
    "two inputs": (TwoInputs().eval(), "missing 1 required positional argument: 'y'"),
    "other channels": (Model(lambda m, x: m.c(x), c=nn.Conv2d(3, 2, 1)), "to have 3 channels, but got 4 channels"),
    "image too small": (Model(lambda m, x: m.c(x), c=nn.Conv2d(4, 2, 8)), "Kernel size can't be greater than"),
    "its own error": (Model(lambda m, x: {}["absent"]), "'absent'"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "reason"), UNRUNNABLE.values(), ids=list(UNRUNNABLE))
def test_what_the_model_itself_cannot_run(model: nn.Module, reason: str) -> None:
    with pytest.raises(InputError, match=re.escape(reason)) as caught:
        capture(model, example())
    message = str(caught.value)
    assert message.startswith("example_inputs: got images of 4x7x9, for which the model itself fails: ")
    assert message.endswith(", expected images that fit the model")


IMPURE: dict[str, tuple[nn.Module, str]] = {
    "counts": (Model(lambda m, x: x + m.c.add_(1), c=torch.zeros(1)),
               f"the model changes its state 'c' {NOT_SO}"),
    "changes its input": (Model(lambda m, x: F.relu_(x)),
                          f"the model changes its input 'x' {NOT_SO}"),
    "changes a view of its input": (Model(lambda m, x: x[:, :].mul_(2)),
                                    f"the model changes its input 'x' {NOT_SO}"),
    "returns a parameter": (Model(lambda m, x: (F.relu(x), m.c.weight), c=nn.Conv2d(4, 2, 1)),
                            "the model returns 'c.weight', which does not depend on its input"),
    "returns the batch size": (Model(lambda m, x: (F.relu(x), x.shape[0])),
                               "the model returns a number that depends on the batch, not a tensor"),
    "returns a number": (Model(lambda m, x: x.sum().item()),
                         "the model returns a number that depends on the batch, not a tensor"),
    "returns nothing": (Model(lambda m, x: None), "the model returns no tensor"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "message"), IMPURE.values(), ids=list(IMPURE))
def test_more_than_outputs(model: nn.Module, message: str) -> None:
    with pytest.raises(CaptureError) as caught:
        capture(model, example())
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("forward", "came"),
    [
        (lambda m, x: defaultdict(list, a=x * 2), "defaultdict"),
    ],
)
def test_outputs_in_other_containers(forward: Forward, came: str) -> None:
    with pytest.raises(InputTypeError) as caught:
        capture(Model(forward), example())
    assert str(caught.value) == f"model: got an output of {came}, expected tensors in tuples, lists and dicts"


class Custom(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if self.training else x


def network(**children: nn.Module) -> nn.Module:
    return Model(lambda m, x: F.relu(x), block=nn.ModuleDict(children))


def test_training_mode() -> None:
    with pytest.raises(InputError) as caught:
        capture(network().train(), example())
    assert str(caught.value) == "model: got training mode, expected eval mode"


@pytest.mark.parametrize(
    "child", [nn.BatchNorm2d(4), nn.BatchNorm1d(4), nn.Dropout(), nn.Dropout2d(), nn.RReLU(), Custom()], ids=str
)
def test_part_of_the_model_in_training_mode(child: nn.Module) -> None:
    model = network(part=child.eval())
    capture(model, example())
    model.block["part"].train()
    with pytest.raises(InputError) as caught:
        capture(model, example())
    assert str(caught.value) == "model: got training mode (module 'block.part'), expected eval mode"


def test_a_constant_of_another_dtype_is_returned() -> None:
    """Its dtype is not what is wrong with it."""
    with pytest.raises(CaptureError, match="the model returns 'c', which does not depend on its input"):
        capture(Model(lambda m, x: (x * 2, m.c), c=torch.arange(3)), example())


def test_a_layer_of_pytorch_in_training_mode() -> None:
    """Alone it is the model, and what it heeds does not matter."""
    with pytest.raises(InputError, match=r"^model: got training mode, expected eval mode$"):
        capture(nn.Conv2d(4, 2, 1), example())


@pytest.mark.parametrize("child", [nn.Identity(), nn.Linear(2, 3), nn.Sequential(nn.ReLU()), nn.MaxPool2d(2)], ids=str)
def test_a_training_flag_without_effect_is_no_obstacle(child: nn.Module) -> None:
    model = network()
    model.block["part"] = child.train()
    assert len(capture(model, example()).graph.nodes) == 2


ARGUMENTS: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "no module": (lambda x: x, example(), InputTypeError, "model: got function, expected a torch.nn.Module"),
    "meta model": (Model(lambda m, x: m.c(x), c=nn.Conv2d(4, 2, 1, device="meta")), example(), InputError,
                   "model: got parameter 'c.weight' on the meta device, expected parameters with values"),
    "integer parameters": (Model(lambda m, x: x, c=nn.ParameterList([nn.Parameter(torch.ones(1, dtype=torch.int8),
                                                                                  requires_grad=False)])),
                           example(), InputTypeError,
                           "model: got parameter 'c.0' of torch.int8, expected floating-point parameters"),
    "array": (network(), example().numpy(), InputTypeError,
              "example_inputs: got ndarray, expected a tensor of images (N, C, H, W)"),
    "two examples": (network(), (example(), example()), InputError,
                     "example_inputs: got 2 inputs, expected one tensor of images"),
    "rank 3": (network(), example()[0], InputError,
               f"example_inputs: got shape {SHAPE}, expected images (N, C, H, W)"),
    "empty batch": (network(), example()[:0], InputError,
                    f"example_inputs: got shape {(0, *SHAPE)}, expected at least one image with at least one pixel"),
    "no pixels": (network(), example()[:, :, :0], InputError,
                  "example_inputs: got shape (1, 4, 0, 9), expected at least one image with at least one pixel"),
    "whole numbers": (network(), example().int(), InputTypeError,
                      "example_inputs: got torch.int32, "
                      "expected torch.bfloat16 or torch.float16 or torch.float32 or torch.float64 or torch.uint8"),
    "another dtype": (network(fc=nn.Linear(2, 3)), example().double(), InputTypeError,
                      "example_inputs: got torch.float64, expected torch.float32 or torch.uint8"),
    "another device": (network(fc=nn.Linear(2, 3)), example().to("meta"), InputError,
                       "example_inputs: got a tensor on meta, expected one on cpu, where the model is"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "image", "kind", "message"), ARGUMENTS.values(), ids=list(ARGUMENTS))
def test_bad_argument(model: Any, image: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        capture(model, image)
    assert str(caught.value) == message
