"""A model of which the backends serve parts: what is theirs as engines, the rest as PyTorch's own operators."""
