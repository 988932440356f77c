"""How many programs a launch has and what memory they share; needs no Triton."""

from __future__ import annotations

from collections.abc import Iterable

from inception_fast.tuning.problem import ConvConfig, ConvProblem

Product = tuple[int, int, int]
"""Pixels, output channels and depth."""


def programs_of(products: Iterable[Product], config: ConvConfig) -> int:
    """Programs of a launch: the parts of the tiles of all its products."""
    products = list(products)
    segment = config.segment(max(depth for _, _, depth in products))
    return sum(
        -(-pixels // config.m) * -(-channels // config.n) * -(-depth // segment) for pixels, channels, depth in products
    )


def workspace_size(programs: int, config: ConvConfig) -> tuple[int, int]:
    """Partial sums and counters of a launch; none where sums are not split."""
    return (programs * config.m * config.n, programs) if config.splits > 1 else (0, 0)


def workspace_of(problems: Iterable[ConvProblem], config: ConvConfig) -> tuple[int, int]:
    """:func:`workspace_size` of a launch of one convolution, or of several together."""
    return workspace_size(programs_of([(p.pixels, p.out_channels, p.depth) for p in problems], config), config)
