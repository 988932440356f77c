"""Which configuration a convolution runs in: measured here, else shipped, else the rule's first candidate."""

from __future__ import annotations

import torch

from inception_fast.tuning.candidates import Limits, candidates, interpreted
from inception_fast.tuning.problem import ConvConfig, ConvProblem

INVARIANT_IMAGES = 16
"""The batch size for which ``batch_invariant`` chooses its one configuration."""


class ConfigChoice:
    """Chooses for one device.

    With ``batch_invariant`` every batch size gets the configuration of one, so that a sum has one order: the same
    steps along K, in the same matrix instruction.
    """

    def __init__(self, device: torch.device, batch_invariant: bool = False) -> None:
        self._batch_invariant = batch_invariant
        self._limits = None if device.type == "cpu" else limits_of(device)

    def __call__(self, problem: ConvProblem) -> ConvConfig:
        if self._batch_invariant:
            problem = problem.with_images(INVARIANT_IMAGES)
        if self._limits is None:
            return interpreted(problem)
        return candidates(problem, self._limits)[0]


def limits_of(device: torch.device) -> Limits:
    """What the rule must know of a CUDA device."""
    properties = torch.cuda.get_device_properties(device)
    return Limits(properties.multi_processor_count, properties.shared_memory_per_block_optin)
