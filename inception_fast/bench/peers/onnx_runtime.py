"""ONNX Runtime on the model's ONNX export, with all graph optimisations; for int8 after its own static quantisation."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from inception_fast.bench.peers.base import DTYPES, Contestant, PeerUnavailableError, Task

NAME = "images"
"""Of the exported model's input."""


def prepare(task: Task) -> list[Contestant]:
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise PeerUnavailableError(f"{package} is not installed")
    import onnxruntime

    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[task.device.type]
    if provider not in onnxruntime.get_available_providers():
        raise PeerUnavailableError(f"this onnxruntime {onnxruntime.__version__} has no {provider}")
    if DTYPES[task.precision] != torch.float32:
        raise PeerUnavailableError(f"its {provider} has no {task.precision} convolutions worth timing")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = task.threads
    options.log_severity_level = 3
    # Its threads spin while it runs, but must not go on into the next contestant's turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    settings = {} if provider == "CPUExecutionProvider" else {"use_tf32": str(int(task.precision == "tf32"))}
    with TemporaryDirectory() as folder:
        model = to_onnx(task, folder)
        if task.precision == "int8":
            model = _quantized(model, task.examples())
        session = onnxruntime.InferenceSession(model, options, providers=[(provider, settings)])
    feed = {NAME: task.images.numpy()}
    note = ", static quantisation, int8" if task.precision == "int8" else ""
    settings_note = f"{provider}, all graph optimisations{note}"
    unrecorded = "it takes its input from the host"
    return [Contestant("onnxruntime", lambda: session.run(None, feed), settings_note, unrecorded=unrecorded)]


def _quantized(model: Path, images: torch.Tensor) -> Path:
    """The model with int8 weights by channel and int8 activations, its own first advice, calibrated on ``images``."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(images.numpy())

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.left, None)
            return None if image is None else {NAME: image[None]}

    prepared, target = model.with_name("prepared.onnx"), model.with_name("int8.onnx")
    # Batch normalisation is folded here; its calibration would take the tensors between for results.
    quant_pre_process(model, prepared, skip_symbolic_shape=True)
    formats = {"activation_type": quantization.QuantType.QInt8, "weight_type": quantization.QuantType.QInt8}
    quantization.quantize_static(prepared, target, Reader(), per_channel=True, **formats)
    return target


def to_onnx(task: Task, folder: str) -> Path:
    """The float32 model as an ONNX file for images of the task's shape."""
    path = Path(folder, "model.onnx")
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter through torch.export needs onnxscript besides; both give the same graph of convolutions.
        warnings.simplefilter("ignore")
        batch = {NAME: {0: "batch"}} if task.precision == "int8" else None  # calibrated image by image
        torch.onnx.export(task.model, (task.images,), path, dynamo=False, input_names=[NAME], dynamic_axes=batch)
    return path
