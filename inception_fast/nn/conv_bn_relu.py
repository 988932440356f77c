"""``ConvBNReLU``: the layer that the whole family is made of."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from inception_fast.errors import InputError
from inception_fast.nn.block import Block
from inception_fast.nn.forms import Options
from inception_fast.nn.kinds import Kind

IntOrPair = int | tuple[int, int]


class PlainConvBNReLU(nn.Module):
    """The layer in PyTorch: ``relu(bn(conv(x)))``; ``bn`` and the ReLU may be missing.

    Its parts are called as in torchvision, timm and facenet-pytorch.
    """

    def __init__(self, conv: nn.Module, bn: nn.Module | None, relu: nn.Module | None) -> None:
        super().__init__()
        self.conv = conv
        if bn is not None:
            self.bn = bn
        if relu is not None:
            self.relu = relu
        self.training = (conv if bn is None else bn).training

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


class ConvBNReLU(Block):
    """Convolution, batch normalisation and ReLU as one kernel: ``[N, in, H, W] -> [N, out, H', W']``.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, bias: as for ``torch.nn.Conv2d``.
        eps: of the batch normalisation; 1e-3 in the whole family.
        options: ``precision``, ``backend`` and ``batch_invariant``, as for :func:`inception_fast.optimize`.

    A new one has PyTorch's initial weights and, like every module, is in training mode until ``eval()`` is called.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("ConvBNReLU",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair = 0,
        *,
        dilation: IntOrPair = 1,
        bias: bool = False,
        eps: float = 1e-3,
        **options: Any,
    ) -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias)
        plain = PlainConvBNReLU(conv, nn.BatchNorm2d(out_channels, eps=eps), nn.ReLU())
        super().__init__(plain, Options(**options))

    @classmethod
    def from_torch(cls, *modules: nn.Module, **options: Any) -> ConvBNReLU:
        """The same layer on fast kernels, with the weights shared.

        Args:
            modules: torchvision's or facenet-pytorch's ``BasicConv2d``, timm's ``ConvNormAct`` or anything else that
                computes such a layer; or its parts: the convolution, the batch normalisation, the ReLU. Parts that are
                not given are not computed.
            options: as for the class.

        Raises:
            InputError: it is not such a layer.
        """
        whole = modules[0] if len(modules) == 1 else _assembled(modules)
        block = cls.wrap(whole, Options(**options))
        block.examine()
        return block


def _assembled(parts: tuple[nn.Module, ...]) -> PlainConvBNReLU:
    if not 1 < len(parts) <= 3:
        raise InputError("modules", f"{len(parts)} modules", "one, or conv, bn[, relu]")
    conv, bn, relu = (*parts, None)[:3]
    assert conv is not None
    return PlainConvBNReLU(conv, bn, relu)
