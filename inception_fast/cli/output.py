"""Where a subcommand's results go: tables to stdout, JSON to a file, everything else to stderr."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def log(message: str) -> None:
    """Prints a line to stderr, where it does not get into a table that is piped on."""
    print(message, file=sys.stderr, flush=True)


def write_json(path: Path | None, payload: Any) -> None:
    """Writes ``payload`` to ``path``; does nothing where ``--json`` was not given."""
    if path is not None:
        path.write_text(json.dumps(payload, indent=2, allow_nan=False) + "\n")
