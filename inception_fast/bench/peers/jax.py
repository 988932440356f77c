"""JAX: the network as one function compiled by XLA."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from inception_fast.bench.peers.base import DTYPES, Contestant, PeerUnavailableError, Task, refuse_int8
from inception_fast.graph.capture import capture
from inception_fast.graph.passes.fold_batchnorm import fold_batchnorm
from inception_fast.graph.rewrite import rebuild

if TYPE_CHECKING:
    import jax

PRECISIONS = {"fp32": "highest", "tf32": "tensorfloat32", "fp16": "default", "bf16": "default"}
"""JAX's names for the arithmetic of a product. Its default rounds float32 to TF32 on a GPU."""


def prepare(task: Task) -> list[Contestant]:
    refuse_int8(task)
    if importlib.util.find_spec("jax") is None:
        raise PeerUnavailableError("jax is not installed")
    with _runtime_settings(task.threads):
        import jax

        device = _find_device(task.device)
    import jax.numpy as jnp

    from inception_fast.bench.peers.jax_graph import forward

    graph = capture(task.model, task.images[:1]).graph
    graph = fold_batchnorm(rebuild(graph, graph.nodes))
    dtype = jnp.dtype(str(DTYPES[task.precision]).removeprefix("torch."))
    network = jax.jit(forward(graph, dtype, jax.lax.Precision(PRECISIONS[task.precision])))
    images = jax.device_put(task.images.permute(0, 2, 3, 1).contiguous().numpy(), device).astype(dtype)
    try:
        jax.block_until_ready(network(images))
    except NotImplementedError as error:
        raise PeerUnavailableError(str(error)) from error

    def run() -> object:
        outputs = network(images)
        if task.device.type == "cpu":
            jax.block_until_ready(outputs)
        # On a GPU, where JAX has a stream of its own, this makes PyTorch's wait for it, and with it the clock's events.
        return [_channels_first(torch.from_dlpack(output)) for output in outputs]

    note = f"XLA, NHWC, weights as constants, {PRECISIONS[task.precision]} precision"
    return [Contestant("jax", run, note, unrecorded="it works on a stream of its own")]


@contextmanager
def _runtime_settings(threads: int) -> Iterator[None]:
    """What the runtime reads from the environment, once, when it is first asked for a device."""
    # It would take three quarters of the GPU's memory, of which the others need some.
    settings = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "NPROC": str(threads)}
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _find_device(device: torch.device) -> jax.Device:
    import jax

    try:
        return jax.devices(device.type)[device.index or 0]
    except (RuntimeError, IndexError) as error:
        raise PeerUnavailableError(f"this jax {jax.__version__} sees no {device}") from error


def _channels_first(output: torch.Tensor) -> torch.Tensor:
    return output.permute(0, 3, 1, 2) if output.dim() == 4 else output
