"""How the Triton kernels are cut for a GPU: candidates from a rule, measurements, and their cache on disk."""
