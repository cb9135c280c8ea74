"""The case folder: custody.jsonl with its first record inside, the folders beside it, README.txt and verify.sh."""

from __future__ import annotations

import contextlib
import os

from imgkit.custody.append import creation_name
from imgkit.custody.durable import create_file, make_private_folders, mode_like, own_like, sync_folder
from imgkit.errors import CustodyError

LOG_NAME = "custody.jsonl"
SUBFOLDERS = ("checkpoints", "receipts", "enclosures")


def make_folder(path: str, *, private: bool) -> None:
    """Make the case folder where it is missing, with the owner of the folder around it.

    Raises:
        OSError: As the kernel says.
    """
    if os.path.isdir(path):
        return
    around = os.path.dirname(path)
    if private:
        make_private_folders(around)
    else:
        os.makedirs(around, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # another command made it at this moment
        _make_subfolder(path, os.stat(around), 0o700 if private else 0o750)
    sync_folder(around)


def furnish(folder: str) -> None:
    """Make what stands beside the record; what is there already stays as it is.

    Raises:
        CustodyError: The installation lacks one of them.
        OSError: As the kernel says.
    """
    like = os.stat(folder)
    for name in SUBFOLDERS:
        with contextlib.suppress(FileExistsError):
            _make_subfolder(os.path.join(folder, name), like, like.st_mode & 0o7777)
    mode = mode_like(like)
    for name, data, bits in (
        ("README.txt", _packaged("README.txt"), mode),
        ("verify.sh", _packaged("verify.sh"), mode | (mode & 0o444) >> 2),
    ):
        with contextlib.suppress(FileExistsError):
            create_file(os.path.join(folder, name), data, like=like, mode=bits)


def create_log(path: str, log: str, line: bytes) -> None:
    """Put the log with its first line at `path`: it is there whole, or not at all.

    Raises:
        CustodyError: There is a log already.
        OSError: As the kernel says.
    """
    like = os.stat(os.path.dirname(path))
    try:
        create_file(path, line, like=like, mode=mode_like(like), temp=creation_name(path, log))
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


def _packaged(name: str) -> bytes:
    place = os.path.join(os.path.dirname(__file__), name)
    try:
        with open(place, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise CustodyError(
            f"this installation of imgkit lacks {place!r}", hint="install imgkit again"
        ) from error
