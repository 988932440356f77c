"""Measurements: see ``docs/benchmarks.md``. A package, so that none of this name elsewhere comes before it."""
