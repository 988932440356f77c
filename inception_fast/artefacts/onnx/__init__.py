"""ONNX files as fx modules of PyTorch's own operators."""
