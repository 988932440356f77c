"""Models as files and artefacts that people have, in place of a Python module: each becomes one."""
