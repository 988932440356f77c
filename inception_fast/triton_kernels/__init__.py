"""Triton kernels, one file each: the kernel, then its launch function.

They work on NHWC tensors ``[N, H, W, C]`` whose channels are slices of wider buffers. Sums are float32. With
``TRITON_INTERPRET=1`` set before Triton is imported they run on CPU tensors in Triton's interpreter.
"""
