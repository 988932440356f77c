"""What our backends are compared with, a file each. Each has ``prepare(task)``, which returns contestants, or raises
:class:`PeerUnavailableError` with the reason.
"""

from inception_fast.bench.peers import cudnn, eager, jax, onnx_runtime, openvino, ours, torch_compile
from inception_fast.bench.peers.base import Contestant, PeerUnavailableError, Task

__all__ = ["PEERS", "Contestant", "PeerUnavailableError", "Task", "ours"]

PEERS = {
    "eager": eager.prepare,
    "torch.compile": torch_compile.prepare,
    "onnxruntime": onnx_runtime.prepare,
    "openvino": openvino.prepare,
    "jax": jax.prepare,
    "cudnn": cudnn.prepare,
}
"""By name; a name may stand for more than one contestant, whose names then begin with it."""
