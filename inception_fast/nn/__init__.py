"""Drop-in modules: parts of a network on fast kernels, with the parameter names of the parts that they replace."""

from inception_fast.nn.conv_bn_relu import ConvBNReLU
from inception_fast.nn.factorized_conv import FactorizedConv
from inception_fast.nn.inception_block import InceptionBlock

__all__ = ["ConvBNReLU", "FactorizedConv", "InceptionBlock"]
