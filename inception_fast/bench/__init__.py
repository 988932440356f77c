"""Measurement: interleaved timing, what it is compared with, and how far a result is from the truth."""
