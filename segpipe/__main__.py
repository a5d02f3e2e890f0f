"""`python -m segpipe`: the same as the command `segpipe`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from segpipe.cli.main import main
    except KeyboardInterrupt:  # Ctrl-C before `main` can say so
        print("segpipe: interrupted.", file=sys.stderr)
        sys.exit(130)
    sys.exit(main())
