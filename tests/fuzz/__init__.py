"""Random networks: drawn from a seed, run on a backend, and made as small as they can be where one fails.

``make fuzz``; see ``__main__``. The tests of this folder run some hundreds of them.
"""
