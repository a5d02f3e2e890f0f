"""`python -m segpipe`: the same as the command `segpipe`."""

from __future__ import annotations

import sys

from segpipe.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
