"""python -m imgkit."""

from __future__ import annotations

import sys

from imgkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
