"""``torch.compile`` with frozen weights and ``max-autotune``."""

from __future__ import annotations

import contextlib
import io

import torch

from inception_fast.bench.peers.base import Contestant, PeerUnavailableError, Task, refuse_int8


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
    with config.patch(freezing=True), torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):
        compiled(x)
    return [Contestant("torch.compile", lambda: compiled(x), f"freezing, {mode}, channels_last")]
