"""Many networks, one after the other, and each failure as small as it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tests.fuzz.checks import Failure, failure
from tests.fuzz.description import Invalid, Network
from tests.fuzz.generate import TINY, Limits, generate
from tests.fuzz.module import check
from tests.fuzz.setting import Setting
from tests.fuzz.shrink import shrink

FailureOf = Callable[[Network, Setting], Failure | None]
SMALL = {"triton": TINY, "cuda": TINY}
"""Of backends that interpret or emulate their kernels here."""


@dataclass(frozen=True)
class Found:
    """A failure, and the smallest network that fails in the same way."""

    seed: int
    setting: Setting
    network: Network
    failure: Failure

    def __str__(self) -> str:
        return f"seed {self.seed} ({self.setting}): {self.failure.text}: {self.network}"


@dataclass(frozen=True)
class Choice:
    """What a sweep takes in turn.

    Attributes:
        captured: every so many networks one goes through ``optimize``, 0 for none.
        offset: of the images of networks that are not exact, where these can have one.
    """

    backend: str = "cpu"
    isas: Sequence[str] = ("",)
    precisions: Sequence[str] = ("fp32",)
    captured: int = 0
    factor: float = 1.0
    offset: float = 0.0

    @property
    def limits(self) -> Limits:
        return SMALL.get(self.backend, Limits())

    def case(self, seed: int) -> tuple[Network, Setting]:
        """The network of a seed, and how it is run."""
        turn, place = divmod(seed, len(self.isas))
        turn, which = divmod(turn, len(self.precisions))
        precision = self.precisions[which]
        captured = bool(self.captured) and seed % self.captured == 0
        # Half precisions of other backends round elsewhere than the reference does.
        exact = (
            turn % 3 == 0 and precision != "int8" and not captured and (precision == "fp32" or self.backend == "cpu")
        )
        setting = Setting(self.backend, precision, self.isas[place], 1 + turn % 2, captured, turn % 4 == 1, self.factor)
        network = generate(seed, self.limits, exact=exact)
        return self._moved(network), setting

    def _moved(self, network: Network) -> Network:
        try:
            moved = replace(network, offset=self.offset)
            check(moved)
        except Invalid:
            return network
        return moved


def sweep(choice: Choice, seeds: Sequence[int]) -> Iterator[Found | None]:
    """For each seed what failed, or None; a failure is made small first."""
    for seed in seeds:
        network, setting = choice.case(seed)
        wrong = failure(network, setting)
        yield None if wrong is None else smallest(seed, network, setting, wrong)


def smallest(seed: int, network: Network, setting: Setting, wrong: Failure, failure: FailureOf = failure) -> Found:
    """The smallest network that fails as ``wrong`` says, by the simplest setting."""

    def fails(network: Network, setting: Setting) -> bool:
        again = failure(network, setting)
        return again is not None and again.kind == wrong.kind

    for simpler in ({"captured": False}, {"invariant": False}, {"threads": 1}):
        other = replace(setting, **simpler)  # type: ignore[arg-type]
        if other != setting and fails(network, other):
            setting = other
    network = shrink(network, lambda smaller: fails(smaller, setting))
    return Found(seed, setting, network, failure(network, setting) or wrong)
