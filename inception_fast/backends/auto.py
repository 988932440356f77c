"""What ``auto`` is where measured times decide: one backend, or one for each range of batch sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch

from inception_fast.backends.base import Backend
from inception_fast.backends.by_batch import ByBatch
from inception_fast.tuning import passes
from inception_fast.tuning.choice import INVARIANT_IMAGES
from inception_fast.tuning.passes import Winners

CONTENDERS: Mapping[str, tuple[str, ...]] = {"cuda": ("cuda", "triton")}
"""By device type, the backends of which each may be the fastest at some batch size."""


@dataclass(frozen=True)
class Selection:
    """A backend, and why it was chosen."""

    backend: Backend
    reason: str


def contest(
    members: Mapping[str, Backend], device: torch.device, precision: str, by_batch: bool, batch_invariant: bool
) -> Selection | str:
    """Decides between backends by their times on a device; where it cannot, the reason is returned alone.

    Args:
        members: all that can run, by name.
        by_batch: whether the choice may depend on the batch size.
        batch_invariant: it may not, since backends add in different orders.
    """
    machine, times = passes.known_passes(device)
    names = " and ".join(members)
    found = passes.winners(times.get(precision, {}), members)
    if not found:
        hint = "`inception-fast tune --passes` does that"
        return f"{names} were not timed against each other on {machine.gpu} in {precision}; {hint}"
    where = f"as timed on {machine.gpu} in {precision}"
    if len(found) == 1:
        return Selection(members[found[0][1]], f"the fastest of {names} at every batch size, {where}")
    if batch_invariant:
        name = passes.winner(found, INVARIANT_IMAGES)
        return Selection(
            members[name], f"the fastest of {names} at batch {INVARIANT_IMAGES}, {where}; one for all sizes"
        )
    if not by_batch:
        return f"which of {names} is the fastest depends on the batch size"
    return Selection(ByBatch(members, found), f"{ranges(found)}, {where}")


def ranges(winners: Winners) -> str:
    """In words, which backend has which batch sizes."""
    words = [f"{name} up to batch {end - 1}" for (_, name), (end, _) in pairwise(winners)]
    first, name = winners[-1]
    return ", ".join([*words, f"{name} from batch {first} on"])
