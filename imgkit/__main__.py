"""python -m imgkit."""

from __future__ import annotations

import os
import sys

try:
    from imgkit.cli import main
except KeyboardInterrupt:  # nothing was begun, and a traceback would tell nobody anything
    os._exit(130)

if __name__ == "__main__":
    sys.exit(main())
