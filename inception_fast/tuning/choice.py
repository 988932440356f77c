"""The configuration of a convolution or a group: measured on this machine, else shipped, else the rule's first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from inception_fast._driver import nvidia_driver
from inception_fast.plan.plan import PoolStep
from inception_fast.tuning.candidates import candidates, interpreted
from inception_fast.tuning.cost import Limits
from inception_fast.tuning.group import group_candidates, group_key, interpreted_group, is_grouped
from inception_fast.tuning.pooling import conv_pool_config, conv_pool_pays, pool_conv_config
from inception_fast.tuning.problem import ConvConfig, ConvProblem
from inception_fast.tuning.table import Machine, Table, read_table, shipped_table, table_path

INVARIANT_IMAGES = 16
"""The batch size for which ``batch_invariant`` chooses its one configuration."""


class ConfigChoice:
    """Chooses for one device; the tables are read once, so one executor never changes its mind.

    With ``batch_invariant`` every batch size gets the configuration of one, so that a sum has one order: the same
    parts and steps along K, in the same matrix instruction.

    Args:
        limits: of the GPU; None for the interpreter.
        entries: what is known of it.
    """

    def __init__(
        self,
        limits: Limits | None,
        entries: Mapping[str, ConvConfig | None],
        batch_invariant: bool = False,
    ) -> None:
        self._limits, self._entries, self._batch_invariant = limits, entries, batch_invariant

    @staticmethod
    def of(device: torch.device, batch_invariant: bool = False) -> ConfigChoice:
        """For a CUDA device, or for the interpreter on the CPU."""
        if device.type == "cpu":
            return ConfigChoice(None, {}, batch_invariant)
        return ConfigChoice(limits_of(device), known_entries(machine_of(device)), batch_invariant)

    def __call__(self, problem: ConvProblem) -> ConvConfig:
        (problem,) = self._as_chosen([problem])
        if self._limits is None:
            return interpreted(problem)
        return self._entries.get(problem.key) or candidates(problem, self._limits)[0]

    def group(self, problems: Sequence[ConvProblem]) -> ConvConfig | None:
        """One configuration for convolutions that share a launch; None where each has its own."""
        problems = self._as_chosen(problems)
        if self._limits is None:
            return interpreted_group(problems)
        if group_key(problems) in self._entries:
            return self._entries[group_key(problems)]
        return group_candidates(problems, self._limits)[0] if is_grouped(problems, self._limits) else None

    def conv_pool(self, problem: ConvProblem, pool: PoolStep, pooled: tuple[int, int]) -> ConvConfig | None:
        """For a convolution and the max pool that reads it; None where each has its own launch."""
        (problem,) = self._as_chosen([problem])
        if self._limits is None:
            return interpreted(replace(problem, out_pixels=pooled[1])) if conv_pool_pays(problem, pool) else None
        return conv_pool_config(problem, pool, pooled, self._limits)

    def pool_conv(self, problem: ConvProblem) -> ConvConfig | None:
        """For a max pool and the 1x1 convolution that reads it; None where each has its own launch."""
        (problem,) = self._as_chosen([problem])
        return interpreted(problem) if self._limits is None else pool_conv_config(problem, self._limits)

    def _as_chosen(self, problems: Sequence[ConvProblem]) -> list[ConvProblem]:
        return [p.with_images(INVARIANT_IMAGES) if self._batch_invariant else p for p in problems]


def known_entries(machine: Machine) -> dict[str, ConvConfig | None]:
    """What was shipped for a machine's GPU, and over it what was measured there."""
    return {key: config for table in known_tables(machine) for key, config in table.entries.items()}


def known_tables(machine: Machine) -> list[Table]:
    """What was shipped for a machine's GPU, and then what was measured there."""
    tables = (shipped_table(machine.gpu), read_table(table_path(machine)))
    return [table for table in tables if table is not None]


def machine_of(device: torch.device) -> Machine:
    """The key of a CUDA device's measurements."""
    return Machine.of(torch.cuda.get_device_name(device), nvidia_driver())


def limits_of(device: torch.device) -> Limits:
    """What the rule must know of a CUDA device."""
    # The stubs of some PyTorch versions lack a part of what all of them have.
    found: Any = torch.cuda.get_device_properties(device)
    return Limits(
        found.multi_processor_count, found.shared_memory_per_block_optin, found.L2_cache_size, found.major >= 9
    )
