"""What a command exits with (docs/cli.md); 0 is none of these."""

from __future__ import annotations

MISMATCH = 1  # a comparison failed, and nothing else
USAGE = 2
TROUBLE = 3  # could not find out, or could not do it
INTERRUPTED, TERMINATED, BROKEN_PIPE = 130, 143, 141  # as shells count SIGINT, SIGTERM and SIGPIPE
