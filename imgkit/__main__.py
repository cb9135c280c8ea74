"""python -m imgkit."""

from __future__ import annotations

import os
import sys

try:
    from imgkit.cli import main
except KeyboardInterrupt:  # nothing was begun, and a traceback would tell nobody anything
    if "--json" in sys.argv:
        os.write(
            1,
            b'{"schema": "imgkit.error.v1", "error": {"kind": "interrupted",'
            b' "message": "interrupted (SIGINT) before anything was begun", "hint": null}}\n',
        )
    os._exit(130)

if __name__ == "__main__":
    sys.exit(main())
