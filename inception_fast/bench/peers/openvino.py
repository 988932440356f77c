"""OpenVINO's CPU plugin, tuned for latency; for int8 on a model that NNCF has quantised."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from typing import Any

import torch

from inception_fast.bench.peers.base import Contestant, PeerUnavailableError, Task

PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
"""What is not quantised is computed in."""


def prepare(task: Task) -> list[Contestant]:
    if importlib.util.find_spec("openvino") is None:
        raise PeerUnavailableError("openvino is not installed")
    if task.device.type != "cpu":
        raise PeerUnavailableError(f"has no plugin for {task.device.type}")
    if task.precision not in PRECISIONS:
        raise PeerUnavailableError(f"has no {task.precision}")
    import openvino

    core, precision = openvino.Core(), PRECISIONS[task.precision]
    if task.precision == "int8" and importlib.util.find_spec("nncf") is None:
        raise PeerUnavailableError("nncf, which quantises its models, is not installed")
    native = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if task.precision != "fp32" and task.precision.upper() not in native:
        raise PeerUnavailableError(f"this processor has no {task.precision} ({', '.join(native)})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = openvino.convert_model(task.model, example_input=task.images)
        if task.precision == "int8":
            graph = _quantized(graph, task.examples())
    graph.reshape(list(task.images.shape))
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": task.threads,
    }
    request = core.compile_model(graph, "CPU", settings).create_infer_request()
    images = task.images.numpy()

    def run() -> object:
        return list(request.infer({0: images}, share_inputs=True, share_outputs=True).values())

    note = "NNCF's post-training quantisation, int8" if task.precision == "int8" else precision
    return [Contestant("openvino", run, f"latency hint, {note}")]


def _quantized(graph: Any, images: torch.Tensor) -> Any:
    """The model after NNCF's calibration on ``images``, with its defaults."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    dataset = nncf.Dataset([image[None].numpy() for image in images])
    # Its progress bars go to standard output, which is for tables.
    with contextlib.redirect_stdout(io.StringIO()):
        return nncf.quantize(graph, dataset, subset_size=len(images))
