"""ONNX Runtime on the model's ONNX export, with all graph optimisations."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from inception_fast.bench.peers.base import DTYPES, Contestant, PeerUnavailableError, Task


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
        session = onnxruntime.InferenceSession(to_onnx(task, folder), options, providers=[(provider, settings)])
    feed = {session.get_inputs()[0].name: task.images.numpy()}
    return [Contestant("onnxruntime", lambda: session.run(None, feed), f"{provider}, all graph optimisations")]


def to_onnx(task: Task, folder: str) -> Path:
    """The float32 model as an ONNX file for images of the task's shape."""
    path = Path(folder, "model.onnx")
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter through torch.export needs onnxscript besides; both give the same graph of convolutions.
        warnings.simplefilter("ignore")
        torch.onnx.export(task.model, (task.images,), path, dynamo=False)
    return path
