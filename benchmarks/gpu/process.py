"""A process with everything that it starts, and its output in a file."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

LONGEST_DEATH = 5.0
"""Seconds that a killed process is waited for."""


class ProcessGroup:
    """Starts a command in a session of its own.

    Args:
        output: where both its streams are appended.
        environment: variables besides those that are set already.
        nice: steps down from the priority of this process.

    Raises:
        OSError: the command cannot be started.
    """

    def __init__(
        self, command: Sequence[str], output: Path, environment: Mapping[str, str], folder: Path, nice: int = 0
    ) -> None:
        with output.open("ab") as stream:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=os.environ | dict(environment),
                cwd=folder,
                start_new_session=True,
            )
        if nice:
            with suppress(OSError):
                os.setpriority(os.PRIO_PGRP, self._process.pid, nice)

    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """Kills whatever is left of it: a child that still held the device would spoil the next part's figures."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            # One that the driver holds does not die before the driver lets go of it.
            self._process.wait(timeout=LONGEST_DEATH)
