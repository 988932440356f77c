"""``torch.compile`` with frozen weights and ``max-autotune``."""

from __future__ import annotations

import contextlib
import io

import torch
from torch import fx
from torch.utils._python_dispatch import _disable_current_modes

from inception_fast.bench.peers.base import Contestant, PeerUnavailableError, Task, refuse_int8

aten = torch.ops.aten
FOLDED = (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor)
"""What Inductor folds into the weights and biases of a frozen convolution."""


def prepare(task: Task) -> list[Contestant]:
    from torch._inductor import config

    refuse_int8(task)
    if task.precision == "fp16" and task.device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_fp16_supported():
        raise PeerUnavailableError("this processor has no fp16 arithmetic, without which its search takes hours")
    module, x = task.module(torch.channels_last), task.input(torch.channels_last)
    mode = "max-autotune" if task.device.type == "cuda" else "max-autotune-no-cudagraphs"
    # An earlier model's graphs would otherwise count towards the limit of recompilations.
    torch._dynamo.reset()
    compiled = torch.compile(module, mode=mode, dynamic=False)
    # Freezing needs no_grad, at the first call: this is where everything is compiled. The search prints its tables.
    settings = config.patch(freezing=True, joint_custom_post_pass=keep_scalars_apart)
    with settings, torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):
        compiled(x)

    def run() -> object:
        return compiled(x)

    # It has a CUDA graph of its own, which cannot be part of another; calls in a row hide the host's part of them.
    return [Contestant("torch.compile", run, f"freezing, {mode}, channels_last", lambda: run)]


def keep_scalars_apart(graph: fx.Graph) -> None:
    """Makes a constant of every scalar that Inductor might fold.

    It would register each under the name ``other_tensor``, so that all convolutions get the value of one (PyTorch 2.11
    to 2.15, ``_inductor/fx_passes/binary_folding.py``); both Inception-ResNets have several scales.
    """
    module = graph.owning_module
    assert module is not None
    for node in graph.nodes:
        if node.target in FOLDED and isinstance(node.args[1], float):
            value, name = node.meta["val"], f"scalar_of_{node.name}"
            # The compiler's mode makes tensors without values.
            with _disable_current_modes():
                scalar = torch.tensor(node.args[1], dtype=value.dtype, device=value.device)
            module.register_buffer(name, scalar)
            with graph.inserting_before(node):
                constant = graph.get_attr(name)
            constant.meta["val"] = value.new_empty(())
            node.update_arg(1, constant)
