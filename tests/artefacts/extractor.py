"""An extractor in the manner of those that metrics of generators download as scripts: bytes in, resized by an affine
grid, keywords that choose what comes out, weights in modules of its own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 35


class Conv(nn.Module):
    def __init__(self, channels: int, filters: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        fan_in = channels * kernel * kernel
        self.weight = nn.Parameter(torch.randn(filters, channels, kernel, kernel) * (2 / fan_in) ** 0.5)
        self.register_buffer("beta", torch.randn(filters) * 0.1)
        self.register_buffer("mean", torch.randn(filters) * 0.1)
        self.register_buffer("var", torch.rand(filters) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.weight.to(x.dtype), stride=self.stride, padding=self.padding)
        return F.relu(F.batch_norm(x, running_mean=self.mean, running_var=self.var, bias=self.beta, eps=1e-3))


class Block(nn.Module):
    def __init__(self, channels: int, pool: str) -> None:
        super().__init__()
        self.pool = pool
        self.one = Conv(channels, 8, 1)
        self.three = nn.Sequential(Conv(channels, 6, 1), Conv(6, 8, 3, padding=1))
        self.last = Conv(channels, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.pool == "avg":
            pooled = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1, count_include_pad=False)
        else:
            pooled = F.max_pool2d(x, 3, 1, 1)
        return torch.cat([self.one(x), self.three(x), self.last(pooled)], dim=1)


class Output(nn.Module):
    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, features) * features**-0.5)
        self.bias = nn.Parameter(torch.randn(classes))

    def forward(self, x: Tensor, use_bias: bool) -> Tensor:
        x = x.matmul(self.weight.to(x.dtype).t())
        if use_bias:
            x = x + self.bias.to(x.dtype)
        return x


class Extractor(nn.Module):
    """Bytes ``[N, 3, H, W]`` to ``[N, 10]`` probabilities or ``[N, 20]`` features."""

    def __init__(self) -> None:
        super().__init__()
        self.size = SIZE
        stem = (Conv(3, 8, 3, 2), nn.MaxPool2d(3, 2))
        self.layers = nn.Sequential(*stem, Block(8, "avg"), Block(20, "max"), nn.AvgPool2d(8))
        self.output = Output(20, 10)

    def forward(self, img: Tensor, return_features: bool = False, no_output_bias: bool = False) -> Tensor:
        batch, channels, height, width = img.shape
        assert channels == 3
        x = img.to(self.output.weight.dtype)
        theta = torch.eye(2, 3, device=img.device)
        theta[0, 2] += theta[0, 0] / width - theta[0, 0] / self.size
        theta[1, 2] += theta[1, 1] / height - theta[1, 1] / self.size
        theta = theta.to(x.dtype).unsqueeze(0).repeat([batch, 1, 1])
        grid = F.affine_grid(theta, [batch, channels, self.size, self.size], align_corners=False)
        x = F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
        x -= 128
        x /= 128
        features = self.layers.forward(x).reshape((-1, 20))
        if return_features:
            return features
        return F.softmax(self.output(features, not no_output_bias), dim=1)
