"""``python -m inception_fast``: the ``inception-fast`` command where its script is not on the path."""

from __future__ import annotations

import sys

from inception_fast.cli.main import main

if __name__ == "__main__":
    # What records call the command, and what repeats it once the package is installed.
    sys.argv[0] = "inception-fast"
    sys.exit(main())
