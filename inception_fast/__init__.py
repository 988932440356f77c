"""Fast inference for the Inception family: your model in, a verified and faster module out.

::

    import inception_fast as ifast

    fast = ifast.optimize(model, torch.zeros(1, 3, 299, 299))
    fast(x)                      # same outputs as model(x)
    print(fast.report())         # what was fused, merged, left alone, and why
"""

from inception_fast import nn
from inception_fast.backends import Availability, backends
from inception_fast.errors import (
    BackendUnavailableError,
    CaptureError,
    EngineFileError,
    InceptionFastError,
    InputError,
    InputTypeError,
    ModelFileError,
    OnnxUnavailableError,
    PlanError,
    UnsupportedOpError,
)
from inception_fast.fast_model import FastModel, load
from inception_fast.models import create_model, list_models
from inception_fast.optimization import optimize
from inception_fast.partition.partitioned_model import PartitionedModel
from inception_fast.partition.report import PartitionReport
from inception_fast.report import Report
from inception_fast.swapping import SwapReport, swap

__all__ = [
    "Availability",
    "BackendUnavailableError",
    "CaptureError",
    "EngineFileError",
    "FastModel",
    "InceptionFastError",
    "InputError",
    "InputTypeError",
    "ModelFileError",
    "OnnxUnavailableError",
    "PartitionReport",
    "PartitionedModel",
    "PlanError",
    "Report",
    "SwapReport",
    "UnsupportedOpError",
    "backends",
    "create_model",
    "list_models",
    "load",
    "nn",
    "optimize",
    "swap",
]
