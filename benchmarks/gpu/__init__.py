"""A visit to a GPU in one command: ``python -m benchmarks.gpu --output FOLDER``, also ``make gpu``.

What runs the parts needs nothing but Python's own library; a part may need more, and names what is missing.
"""
