"""cuDNN by its graph API: every convolution fused with what follows it and written where it belongs, so that there is
no concat; in a CUDA graph.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from math import ceil
from typing import Any

import torch

from inception_fast.bench.peers.base import DTYPES, Contestant, PeerUnavailableError, Task, first_line
from inception_fast.bench.peers.cudnn_problem import Problem, Tensors, Uid, describe
from inception_fast.bench.peers.cudnn_steps import Run, Steps
from inception_fast.bench.timing import CudaTimer, captured
from inception_fast.graph import ir
from inception_fast.graph.capture import capture
from inception_fast.graph.passes import (
    eliminate_concat,
    fold_batchnorm,
    fold_input_affine,
    fuse_activation,
    fuse_residual,
)
from inception_fast.graph.rewrite import rebuild
from inception_fast.lowering.lower import lower
from inception_fast.plan.engine_file import PRECISIONS

VECTOR_BYTES = 16
"""The images' channels are filled up with zeros to a multiple of what a thread loads at once."""
LARGEST_WORKSPACE = 1 << 30
TRIAL_SECONDS, MOST_REPEATS = 5e-4, 10
"""How long a plan is tried, in a CUDA graph of at most so many calls: a short kernel alone would measure its launch."""


def prepare(task: Task) -> list[Contestant]:
    if importlib.util.find_spec("cudnn") is None:
        raise PeerUnavailableError("nvidia-cudnn-frontend is not installed")
    if task.device.type != "cuda":
        raise PeerUnavailableError(f"has no kernels for {task.device.type}")
    # After PyTorch, whose copy of the library it then uses.
    import cudnn

    graph = fused(capture(task.model, task.images[:1]).graph)
    plan, constants = lower(graph, PRECISIONS[task.precision])
    with torch.cuda.device(task.device):
        library = Library(cudnn, DTYPES[task.precision], exact=task.precision == "fp32")
        steps = Steps(plan, constants, widened(task.input(torch.channels_last)), library.make)
    version = f"cuDNN {cudnn.backend_version()}"
    note = f"{version}, plans by trial, {steps.in_place} of {steps.convolutions} convolutions in place"
    return [Contestant("cudnn", steps, note, partial(captured, steps, task.device))]


def fused(graph: ir.Graph) -> ir.Graph:
    """The graph with what cuDNN can fuse, and its concats in place.

    Average pools stay where the model has them: behind the convolution their bias and ReLU would be passes of their
    own. Siblings stay apart: the library writes a product to one place.
    """
    passes = (
        fold_batchnorm.fold_batchnorm,
        fuse_activation.fuse_activation,
        fuse_residual.fuse_residual,
        fold_input_affine.fold_input_affine,
        eliminate_concat.eliminate_concat,
    )
    graph = rebuild(graph, graph.nodes)
    for run in passes:
        graph = run(graph)
    return graph


def widened(images: torch.Tensor) -> torch.Tensor:
    """Images in NHWC memory with channels of zeros behind, up to a whole vector."""
    vector = VECTOR_BYTES // images.element_size()
    count, channels, height, width = images.shape
    wide = images.new_zeros(count, height, width, -(-channels // vector) * vector)
    wide[..., :channels] = images.permute(0, 2, 3, 1)
    return wide.permute(0, 3, 1, 2)


class Library:
    """Chooses among cuDNN's plans for a problem by trial on the device.

    Args:
        cudnn: the module.
        exact: products of float32 are not rounded to TF32.
    """

    def __init__(self, cudnn: Any, dtype: torch.dtype, exact: bool) -> None:
        self._cudnn, self._dtype, self._exact = cudnn, dtype, exact
        self._handle = cudnn.create_handle()
        self._workspace: torch.Tensor | None = None
        self._chosen: dict[Problem, Callable[[Tensors], None]] = {}

    def make(self, problem: Problem, tensors: Tensors) -> Run:
        """The fastest plan of a problem, of equal problems the same.

        Raises:
            NotImplementedError: cuDNN has no plan; with its reason.
        """
        if problem not in self._chosen:
            self._chosen[problem] = self._choose(problem, tensors)
        return partial(self._chosen[problem], tensors)

    def _choose(self, problem: Problem, tensors: Tensors) -> Callable[[Tensors], None]:
        graph = describe(self._cudnn, problem, self._dtype, handle=self._handle)
        times: dict[int, float] = {}
        reason = "no plan"
        for index, workspace in usable_plans(self._cudnn, graph, self._exact):
            if self._workspace is None or self._workspace.numel() < workspace:
                self._workspace = tensors[Uid.OUTPUT].new_empty(max(1, workspace), dtype=torch.uint8)
            try:
                times[index] = seconds(partial(self._execute, graph, index, tensors))
            except refusals(self._cudnn) as error:
                reason = first_line(error)
        if not times:
            raise NotImplementedError(reason)
        return partial(self._execute, graph, min(times, key=lambda index: times[index]))

    def _execute(self, graph: Any, index: int, tensors: Tensors) -> None:
        self._cudnn.set_stream(handle=self._handle, stream=torch.cuda.current_stream().cuda_stream)
        pack = {int(uid): tensor for uid, tensor in tensors.items()}
        graph.execute_plan_at_index(pack, self._workspace, index, handle=self._handle)


def refusals(cudnn: Any) -> tuple[type[Exception], ...]:
    """What cuDNN raises where it has no kernel for something."""
    return (cudnn.cudnnGraphNotSupportedError, RuntimeError)


def usable_plans(cudnn: Any, graph: Any, exact: bool) -> Iterator[tuple[int, int]]:
    """(index, bytes of workspace) of the plans for a graph that can be built, as cuDNN's two heuristics rank them.

    Raises:
        NotImplementedError: there are none at all; with cuDNN's reason.
    """
    try:
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.B])
    except refusals(cudnn) as error:
        raise NotImplementedError(first_line(error)) from error
    if exact:
        graph.deselect_numeric_notes([cudnn.numerical_note.TENSOR_CORE])
    for index in range(graph.get_execution_plan_count()):
        try:
            graph.build_plan_at_index(index)
            workspace = graph.get_workspace_size_plan_at_index(index)
        except refusals(cudnn):
            continue
        if workspace <= LARGEST_WORKSPACE:
            yield index, workspace


def seconds(run: Run) -> float:
    """Of one call on the device, the best of three."""
    timer = CudaTimer()
    run()
    repeats = min(MOST_REPEATS, ceil(TRIAL_SECONDS / timer(run, 1)))

    def repeated() -> None:
        for _ in range(repeats):
            run()

    replay = captured(repeated)
    replay()
    return min(timer(replay, 1) for _ in range(3)) / repeats
