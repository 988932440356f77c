"""Everything that needs a GPU, in one command that runs unattended: ``python -m benchmarks.gpu``, also ``make gpu``."""
