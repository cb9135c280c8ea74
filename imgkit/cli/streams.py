"""Standard streams that may be closed, full, or of another encoding than the names of files."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO

_NAMES_OF_BYTES = "imgkit-bytes"
_STREAMS = (("stdin", os.O_WRONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY))


def prepare_streams() -> None:
    """Put something where a standard stream is closed; let standard output take any name.

    Else the next file that is opened, evidence or a log, would have the number of that stream. As in coreutils, a
    closed standard input or output is opened the wrong way round: using it fails, as it should.
    """
    for number, (name, flags) in enumerate(_STREAMS):
        if getattr(sys, name) is not None:
            continue
        _occupy(number, flags)
        setattr(sys, name, _opened(number, name))
    if hasattr(sys.stdout, "reconfigure"):
        codecs.register_error(_NAMES_OF_BYTES, _as_bytes)
        sys.stdout.reconfigure(errors=_NAMES_OF_BYTES)


def _occupy(number: int, flags: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        fd = os.open(os.devnull, flags)
        if fd != number:
            os.dup2(fd, number)
            os.close(fd)


def _opened(number: int, name: str) -> TextIO:
    raw = io.FileIO(number, "r" if name == "stdin" else "w", closefd=False)
    buffer = io.BufferedReader(raw) if name == "stdin" else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace")


def _as_bytes(error: UnicodeError) -> tuple[bytes, int]:
    """A byte of a file name that is no UTF-8 goes out as it came in; what the encoding lacks is escaped."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    out = bytearray()
    for character in error.object[error.start : error.end]:
        code = ord(character)
        out += bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape")  # noqa: PLR2004  (PEP 383)
    return bytes(out), error.end


def forget_output() -> None:
    """What could not be written is not tried again when Python ends: that would be a second complaint, with exit 120."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            fd = os.open(os.devnull, os.O_WRONLY)
            os.dup2(fd, number)
            os.close(fd)
