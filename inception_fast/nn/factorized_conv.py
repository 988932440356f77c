"""``FactorizedConv``: an n x n convolution as 1xn and nx1, the mark of Inception-v3 and its successors."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from inception_fast.errors import InputError
from inception_fast.nn.block import Block
from inception_fast.nn.conv_bn_relu import PlainConvBNReLU
from inception_fast.nn.forms import Options
from inception_fast.nn.kinds import Kind


class FactorizedConv(Block):
    """Two ConvBNReLU layers, 1xn and then nx1, that keep the image's size: ``[N, in, H, W] -> [N, out, H, W]``.

    Where the backend can, they are one kernel, and what is between them never reaches memory. (Szegedy et al.,
    "Rethinking the Inception Architecture for Computer Vision", section 3.2.)

    Args:
        length: n, odd.
        middle_channels: between the two; ``out_channels`` by default.
        column_first: nx1 and then 1xn.
        eps: of the batch normalisations.
        options: ``precision``, ``backend`` and ``batch_invariant``, as for :func:`inception_fast.optimize`.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("FactorizedConv",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        length: int = 7,
        *,
        middle_channels: int | None = None,
        column_first: bool = False,
        eps: float = 1e-3,
        **options: Any,
    ) -> None:
        if length < 3 or length % 2 == 0:
            raise InputError("length", length, "an odd number >= 3")
        middle = out_channels if middle_channels is None else middle_channels
        row, column = (1, length), (length, 1)
        first, second = (column, row) if column_first else (row, column)
        layers = (_layer(in_channels, middle, first, eps), _layer(middle, out_channels, second, eps))
        super().__init__(nn.Sequential(*layers), Options(**options))

    @classmethod
    def from_torch(cls, *modules: nn.Module, **options: Any) -> FactorizedConv:
        """The same pair of layers on fast kernels, with the weights shared.

        Args:
            modules: one module that computes both, or the two layers, which become ``0`` and ``1``; each layer as in
                :meth:`inception_fast.nn.ConvBNReLU.from_torch`.
            options: as for the class.

        Raises:
            InputError: it is not such a pair.
        """
        if not 1 <= len(modules) <= 2:
            raise InputError("modules", f"{len(modules)} modules", "one, or the two layers")
        whole = modules[0]
        if len(modules) == 2:
            whole = nn.Sequential(*modules)
            whole.training = any(m.training for m in modules)
        block = cls.wrap(whole, Options(**options))
        block.examine()
        return block


def _layer(in_channels: int, out_channels: int, kernel: tuple[int, int], eps: float) -> PlainConvBNReLU:
    padding = (kernel[0] // 2, kernel[1] // 2)
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, bias=False)
    return PlainConvBNReLU(conv, nn.BatchNorm2d(out_channels, eps=eps), nn.ReLU())
