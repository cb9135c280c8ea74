"""The case folder: custody.jsonl with its first record inside, the folders beside it, README.txt and verify.sh."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from imgkit.custody.append import creation_name
from imgkit.custody.durable import create_file, mode_like, own_like, sync_folder
from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from collections.abc import Iterable

LOG_NAME = "custody.jsonl"
SUBFOLDERS = ("checkpoints", "receipts", "enclosures")
_README = """\
Custody record
==============

custody.jsonl       the record, one line an entry; only ever appended to
checkpoints/        signed statements of what the record was at a moment, and their time stamps
receipts/           one-line receipts that were given and received
enclosures/         <sha256>.<ext>: notes, reports and long lists that entries name by their digest
verify.sh           checks this folder with stock tools

Each line is JSON with an LF. `prev` is the SHA-256 of the line before, with its LF, in lower-case hex; 64 zeros in
line 1. To check a line by hand (here line 5 against line 4):

    sed -n 4p custody.jsonl | sha256sum
    sed -n 5p custody.jsonl | jq -r .prev

To check all of them, with sh, split, xargs, sha256sum, paste, awk and jq:

    sh verify.sh

An enclosure is checked with sha256sum: the digest is its name. With imgkit: imgkit log verify FOLDER.

The chain alone shows that nothing between two lines was changed afterwards by somebody who did not also rewrite
everything that follows. That the whole was not rewritten, and that its end was not cut off, only a receipt, a time
stamp or another copy held by somebody else can show.
"""


def make_folder(path: str, *, private: bool) -> None:
    """Make the case folder where it is missing, with the owner of the folder around it.

    Raises:
        OSError: As the kernel says.
    """
    if os.path.isdir(path):
        return
    around = os.path.dirname(path)
    os.makedirs(around, 0o700 if private else 0o777, exist_ok=True)
    _make_subfolder(path, os.stat(around), 0o700 if private else 0o750)
    sync_folder(around)


def furnish(folder: str) -> None:
    """Make what stands beside the record; what is there already stays as it is.

    Raises:
        CustodyError: The installation lacks verify.sh.
        OSError: As the kernel says.
    """
    like = os.stat(folder)
    for name in SUBFOLDERS:
        with contextlib.suppress(FileExistsError):
            _make_subfolder(os.path.join(folder, name), like, like.st_mode & 0o7777)
    mode = mode_like(like)
    for name, data, bits in (
        ("README.txt", _README.encode(), mode),
        ("verify.sh", _verify_script(), mode | 0o111),
    ):
        with contextlib.suppress(FileExistsError):
            create_file(os.path.join(folder, name), data, like=like, mode=bits)


def create_log(path: str, log: str, lines: Iterable[bytes]) -> None:
    """Put the log with its first line at `path`: it is there whole, or not at all.

    Raises:
        CustodyError: There is a log already.
        OSError: As the kernel says.
    """
    like = os.stat(os.path.dirname(path))
    try:
        create_file(path, b"".join(lines), like=like, mode=mode_like(like), temp=creation_name(path, log))
    except FileExistsError as error:
        raise exists(path) from error


def exists(path: str) -> CustodyError:
    """Return the error for a folder that has a log already."""
    return CustodyError(
        f"{os.path.dirname(path)!r} already holds a custody log",
        hint="name it with --case, or choose another folder",
    )


def _make_subfolder(path: str, like: os.stat_result, mode: int) -> None:
    os.mkdir(path, 0o700)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        own_like(fd, like)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def _verify_script() -> bytes:
    place = os.path.join(os.path.dirname(__file__), "verify.sh")
    try:
        with open(place, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise CustodyError(
            f"this installation of imgkit lacks {place!r}", hint="install imgkit again"
        ) from error
