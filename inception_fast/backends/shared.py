"""What the executors of one network share, whatever the size of their images."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import torch

T = TypeVar("T")


class Shared:
    """What backends have made of a network's constants, and where they look for it before they make it anew.

    It lasts as long as an executor has it. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}
        self._alive: dict[int, torch.Tensor] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` returned when it was first asked for."""
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            found: T = self._made[key]
            return found

    def of(self, constants: Sequence[torch.Tensor], what: Hashable, make: Callable[[], T]) -> T:
        """``what`` is made of some constants, made once. They are kept alive, and nobody may write to them."""
        with self._lock:
            # An id is one object's for as long as it lives.
            self._alive |= {id(constant): constant for constant in constants}
        return self.get((what, *map(id, constants)), make)
