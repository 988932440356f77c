"""The parts of a visit, a program each: ``python -m benchmarks.gpu.parts.NAME``; see :mod:`benchmarks.gpu.worker`."""
