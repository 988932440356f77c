"""Random weights that keep a network's activations alive.

A deep network with naive random weights tends to a constant: every image gives nearly one output, and a kernel that
reads the wrong pixel goes unnoticed. Here the convolutions get He's initialisation (K. He et al., ICCV 2015,
arXiv:1502.01852) and every BatchNorm the statistics of real photographs, so each layer sees inputs of unit scale that
still depend on the image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def initialize(model: nn.Module, seed: int) -> None:
    """Fill every parameter and buffer in place, from ``seed`` alone; PyTorch's global generator is left untouched.

    Convolutions before a BatchNorm: normal of variance ``2 / fan_in`` (He). Layers with a bias (the residual 1x1
    convolutions and the classifier, whose output goes into a sum or out): variance ``1 / fan_in``, bias of deviation
    0.1. BatchNorm: scale and shift both around 1, neither exactly, so that folding them wrongly shows. The shift lets
    five activations of six through the ReLU; with one of two, each layer would multiply a rounding error by
    ``sqrt(pi / (pi - 1))`` (G. Yang et al., ICLR 2019, arXiv:1902.08129), and the 75 layers of Inception-v4 would
    turn float32's into 3e-4 of the output.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            gain = 2.0 if module.bias is None else 1.0
            module.weight.normal_(0.0, math.sqrt(gain / fan_in), generator=generator)
            if module.bias is not None:
                module.bias.normal_(0.0, 0.1, generator=generator)
        elif isinstance(module, _BatchNorm):
            module.reset_running_stats()
            module.weight.uniform_(0.75, 1.25, generator=generator)
            module.bias.normal_(1.0, 0.25, generator=generator)


@torch.no_grad()
def calibrate_batchnorm(model: nn.Module, images: Tensor) -> None:
    """Set the running statistics of every BatchNorm to those of its input over ``images``, in one forward pass.

    Each BatchNorm takes its statistics just before it runs, so the layers after it see what they will see in inference.

    Args:
        model: network in eval mode; its BatchNorm buffers are changed in place.
        images: ``(N, 3, H, W)`` float32, N at least 2.
    """

    def take_statistics(module: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(module, _BatchNorm)
        assert module.running_mean is not None
        assert module.running_var is not None
        (x,) = inputs
        over = [dim for dim in range(x.ndim) if dim != 1]
        # The biased variance is what makes the output over these very images have unit variance.
        var, mean = torch.var_mean(x, dim=over, correction=0)
        module.running_mean.copy_(mean)
        module.running_var.copy_(var)

    hooks = [m.register_forward_pre_hook(take_statistics) for m in model.modules() if isinstance(m, _BatchNorm)]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
