"""The ``inception-fast`` command.

A subcommand is a module of this package with ``add_arguments(parser)`` and ``run(args) -> int``; its file name is its
name and the first line of its docstring its help. Exit status: 0 where what was asked holds, 1 where it does not, 2 for
wrong use.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

from inception_fast import cli
from inception_fast._build_info import package_version
from inception_fast.cli.options import new_file
from inception_fast.cli.output import log
from inception_fast.errors import InceptionFastError

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130


def subcommands() -> dict[str, ModuleType]:
    """Every module of this package that is a subcommand, by name.

    They are all imported to build the help, so they import what is heavy inside ``run``.
    """
    modules = [importlib.import_module(f"{cli.__name__}.{info.name}") for info in pkgutil.iter_modules(cli.__path__)]
    found = [m for m in modules if hasattr(m, "add_arguments") and hasattr(m, "run")]
    return {module.__name__.rpartition(".")[2]: module for module in found}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="inception-fast", description="Inception-family networks on hand-made kernels."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {package_version()}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", metavar="FILE", type=new_file, help="also write the results as JSON to FILE")
    commands = parser.add_subparsers(title="subcommands", metavar="COMMAND", required=True)
    for name, module in subcommands().items():
        summary = (module.__doc__ or "").strip().partition("\n")[0]
        command = commands.add_parser(name, help=summary, description=summary, parents=[common])
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv`` (``sys.argv`` by default) and returns its exit status."""
    args = build_parser().parse_args(argv)
    try:
        status = args.run(args)
        sys.stdout.flush()
        return status
    except InceptionFastError as error:
        log(f"inception-fast: {error}")
        return WRONG_USE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our pipe has left; without this, the interpreter's own flush at exit would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
