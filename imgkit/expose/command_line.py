"""The command line of the process that serves: what it was told to do, and what became of it, for `ps` and the list.

`PYTHON -I -S -B …/imgkit/expose/child.py imgkit-exposure NAME IMAGE SIZE INODE STATE`: the last word is overwritten in place
once the file is seen by somebody, so that no state has to lie anywhere but in the kernel.
"""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from typing import Literal

MARKER = b"imgkit-exposure"
PROGRAM = b"/imgkit/expose/child.py"
_STATE_SIZE = 48
BLANK_STATE = "state:" + "." * (_STATE_SIZE - 6)
_STATE = re.compile(rb"state:dev=([0-9a-f]{1,16}),guard=(lease|none)\.*")
_WORDS = 7  # the program and what follows it
_ARG_START = 48 - 3  # field 48 of proc(5)'s stat, counted from field 3


@dataclass(frozen=True, slots=True)
class Served:
    """What a command line says. `dev` is 0 as long as nobody sees the file."""

    name: str
    path: str
    size: int
    ino: int
    dev: int
    guard: Literal["lease", "none"]


def words(*, name: str, path: str, size: int, ino: int) -> list[str]:
    """What follows the program."""
    return [MARKER.decode(), name, path, str(size), str(ino), BLANK_STATE]


def parse(raw: bytes) -> Served | None:
    """Read /proc/<pid>/cmdline; None if it is none of ours."""
    words_there = raw.removesuffix(b"\0").split(b"\0")
    if len(words_there) < _WORDS or not words_there[-_WORDS].endswith(PROGRAM):
        return None
    marker, name, path, size, ino, state = words_there[1 - _WORDS :]
    if marker != MARKER or not (size.isdigit() and ino.isdigit()):
        return None
    found = _STATE.fullmatch(state)
    dev, guard = (int(found[1], 16), found[2]) if found else (0, b"none")
    return Served(
        os.fsdecode(name),
        os.fsdecode(path),
        int(size),
        int(ino),
        dev,
        "lease" if guard == b"lease" else "none",
    )


class StateWord:
    """The last word of this process's own command line, where the kernel reads it. Found while /proc may be read.

    Raises:
        OSError: /proc is not there.
        ValueError: The word is not where the kernel says.
    """

    def __init__(self) -> None:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_START + 1])
        area = ctypes.string_at(start, end - start)
        self._address = start + area.rindex(BLANK_STATE.encode("ascii"))

    def write(self, *, dev: int, guard: str) -> None:
        """Overwrite it in place, for everybody who looks at the process."""
        state = f"state:dev={dev:x},guard={guard}".ljust(_STATE_SIZE, ".").encode("ascii")
        ctypes.memmove(self._address, state, _STATE_SIZE)
