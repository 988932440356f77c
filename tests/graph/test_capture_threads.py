"""A model may be captured by several threads, and run by others meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from inception_fast.graph.capture import capture
from inception_fast.graph.interpreter import interpret
from tests.graph.capturing import example, relative_error


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()) for _ in range(8)]
    return nn.Sequential(*(layer for group in layers for layer in group)).eval()


def test_captures_of_one_model_by_two_threads_while_others_run_it_and_another() -> None:
    model, other, x = network(), network(), torch.randn(2, 4, 7, 9)
    with torch.no_grad():
        expected = model(x)
    done = threading.Event()
    runs = []

    def run(network: nn.Module) -> None:
        while not done.is_set():
            with torch.no_grad():
                y = network(x)
            assert type(y) is torch.Tensor
            torch.testing.assert_close(y, expected)
            # Printing takes modes off a stack and puts them back.
            assert "tensor" in repr(y)
            runs.append(network)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(run, network) for network in (model, other)]
        try:
            captured = [c.result() for c in [pool.submit(capture, model, example()) for _ in range(4)]]
        finally:
            done.set()
        for future in running:
            future.result()
    assert model in runs and other in runs
    first = interpret(captured[0].graph, x)
    for each in captured:
        assert [node.name for node in each.graph.nodes] == [node.name for node in captured[0].graph.nodes]
        assert torch.equal(interpret(each.graph, x)[0], first[0])
    assert relative_error(captured[0], model, x) <= 1e-12


TWO_THREADS = """
import threading
import torch
from torch import nn
from inception_fast.graph.capture import capture

for _ in range(2):
    thread = threading.Thread(target=capture, args=(nn.Conv2d(3, 4, 3).eval(), torch.zeros(1, 3, 8, 8)))
    thread.start()
    thread.join()
print("captured")
"""


def test_captures_by_threads_that_end() -> None:
    """In a process of its own, for PyTorch 2.11 crashes there unless it is kept from it."""
    done = subprocess.run([sys.executable, "-c", TWO_THREADS], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "captured\n"), done.stderr
