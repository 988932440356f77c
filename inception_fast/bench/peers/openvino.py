"""OpenVINO's CPU plugin, tuned for latency."""

from __future__ import annotations

import importlib.util
import warnings

from inception_fast.bench.peers.base import Contestant, PeerUnavailableError, Task

PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def prepare(task: Task) -> list[Contestant]:
    if importlib.util.find_spec("openvino") is None:
        raise PeerUnavailableError("openvino is not installed")
    if task.device.type != "cpu":
        raise PeerUnavailableError(f"has no plugin for {task.device.type}")
    if task.precision not in PRECISIONS:
        raise PeerUnavailableError(f"has no {task.precision}")
    import openvino

    core, precision = openvino.Core(), PRECISIONS[task.precision]
    native = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if task.precision != "fp32" and task.precision.upper() not in native:
        raise PeerUnavailableError(f"this processor has no {task.precision} ({', '.join(native)})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = openvino.convert_model(task.model, example_input=task.images)
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

    return [Contestant("openvino", run, f"latency hint, {precision}")]
