"""Every exception that the package raises on purpose.

All derive from :class:`InceptionFastError`. Those about an argument are also ``ValueError`` or ``TypeError``, so
that callers who know only the standard exceptions catch them too. Messages name the argument, what came and what
was expected.
"""

from __future__ import annotations


class InceptionFastError(Exception):
    """Base of every exception raised by this package."""


class InputError(InceptionFastError, ValueError):
    """An argument has a value that cannot be served (shape, device, name, mode)."""

    def __init__(self, argument: str, got: object, expected: object) -> None:
        super().__init__(f"{argument}: got {got}, expected {expected}")
        self.argument, self.got, self.expected = argument, got, expected


class InputTypeError(InputError, TypeError):
    """An argument has the wrong type or dtype."""


class InputAttributeError(InputError, AttributeError):
    """An object is asked for a part that it does not have."""


class NoParametersError(InputError, StopIteration):
    """``next(module.parameters())`` of a module that has none; loops over them end as usual."""


class UnsupportedOpError(InceptionFastError):
    """The model uses an operator outside the Inception family's.

    Attributes:
        op: the ATen operator's name.
        module: the path of the module that called it, ``''`` for the root.
        source: ``file:line`` in the user's model, ``''`` where PyTorch recorded none.
    """

    def __init__(self, op: str, module: str, source: str, reason: str) -> None:
        where = f" in module '{module}'" if module else ""
        line = f" at {source}" if source else ""
        super().__init__(f"operator {op}{where}{line}: {reason}")
        self.op, self.module, self.source, self.reason = op, module, source, reason


class CaptureError(InceptionFastError):
    """``torch.export`` could not trace the model (data-dependent control flow, for example).

    Attributes:
        module: path of the module that branches on values, ``''`` for the model itself or another reason.
    """

    def __init__(self, message: str, module: str = "") -> None:
        super().__init__(message)
        self.module = module


class PlanError(InceptionFastError):
    """A Plan breaks one of its invariants; the message names the step or buffer."""


class EngineFileError(InceptionFastError, ValueError):
    """An engine file is truncated, corrupt, of another version, or packed for another backend."""


class ModelFileError(InceptionFastError, ValueError):
    """A file or artefact that a model should be made of is missing, malformed, or of a version that is not read."""


class OnnxUnavailableError(InceptionFastError, ImportError):
    """The package that reads ONNX files is not installed."""


class BackendUnavailableError(InceptionFastError, RuntimeError):
    """The backend asked for cannot run here; the message says why."""


class DeviceError(InceptionFastError, RuntimeError):
    """A call of the CUDA runtime failed; the message names the call, the kernel and the error."""
