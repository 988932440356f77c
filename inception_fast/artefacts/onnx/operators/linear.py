"""BatchNormalization, Gemm, MatMul and LRN."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from inception_fast.artefacts.onnx.node import OnnxNode, rule


@rule("BatchNormalization")
def batch_norm(node: OnnxNode, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    node.require(not node.get("training_mode", 0), "a normalisation in training mode")
    return F.batch_norm(x, mean, variance, scale, shift, training=False, eps=node.real("epsilon", 1e-5))


@rule("Gemm")
def gemm(node: OnnxNode, a: Tensor, b: Tensor, c: Any = None) -> Tensor:
    alpha, beta = node.real("alpha", 1.0), node.real("beta", 1.0)
    a = a.t() if node.get("transA", 0) else a
    weight = b if node.get("transB", 0) else b.t()
    if alpha == 1 and beta == 1 and (c is None or (isinstance(c, Tensor) and c.shape == weight.shape[:1])):
        return F.linear(a, weight, c)
    product = F.linear(a, weight)
    product = product if alpha == 1 else product * alpha
    if c is None or beta == 0:
        return product
    return product + (c if beta == 1 else c * beta)


@rule("MatMul")
def matmul(node: OnnxNode, a: Tensor, b: Tensor) -> Tensor:
    # The form that a layer's weights have in PyTorch.
    return F.linear(a, b.t()) if a.dim() >= 2 and b.dim() == 2 else a @ b


@rule("LRN")
def local_response_norm(node: OnnxNode, x: Tensor) -> Tensor:
    size, alpha, beta = node.get("size"), node.real("alpha", 1e-4), node.real("beta", 0.75)
    bias = node.real("bias", 1.0)
    if size % 2:
        return F.local_response_norm(x, size, alpha, beta, bias)
    # An even window has one channel more behind than before in ONNX, and the other way round in PyTorch.
    return F.local_response_norm(x.flip(1), size, alpha, beta, bias).flip(1)
