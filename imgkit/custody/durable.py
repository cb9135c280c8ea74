"""Small files that are there whole or not at all after a crash: temp, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from imgkit.custody.record import new_uuid
from imgkit.errors import CustodyError
from imgkit.linux.files import open_regular, renameat2_noreplace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
READ_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_BLOCK = 1 << 20  # bytes of one write
NO_RENAME = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_NO_LINK = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK})
_HINTS: dict[int, str | None] = {
    errno.ENOSPC: "make room on that file system",
    errno.EDQUOT: "the owner's disk quota is used up",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "that file system is mounted read-only",
    errno.EACCES: "check owner and mode of the folder, or choose another with --case",
    errno.EPERM: "check owner and mode of the folder, or choose another with --case",
    errno.ELOOP: "a symbolic link is not followed there: name the real file",
    errno.ENOENT: "name the case folder with --case",
    errno.EIO: "the storage fails: copy the case folder elsewhere now",
}
# What is no part of a case: a file that the user named.
_HINTS_GIVEN = _HINTS | {
    errno.EACCES: "check owner and mode of it and of the folders above it",
    errno.EPERM: "check owner and mode of it and of the folders above it",
    errno.ENOENT: None,
    errno.EIO: "the storage fails: copy it elsewhere now",
}


@contextlib.contextmanager
def told(what: str, *, given: bool = False) -> Iterator[None]:
    """Turn an OSError of the block into the CustodyError `cannot <what>: <the kernel's words>`.

    Args:
        what: What the block does, on what.
        given: Whether it is about a file or folder that the user named, and not about the case.

    Raises:
        CustodyError: With the OSError as its cause.
    """
    try:
        yield
    except OSError as error:
        hints = _HINTS_GIVEN if given else _HINTS
        hint = hints.get(error.errno) if error.errno is not None else None
        raise CustodyError(f"cannot {what}: {error.strerror or error}", hint=hint) from error


def mode_like(folder: os.stat_result) -> int:
    """Return the mode of a file in that folder: who may list it reads, who may add to it writes, at most 0660."""
    return (stat.S_IMODE(folder.st_mode) & 0o660) | 0o600


def own_like(fd: int, folder: os.stat_result) -> None:
    """Give a new file the owner and group of its folder, as far as the caller may."""
    for uid, gid in ((folder.st_uid, folder.st_gid), (-1, folder.st_gid)):
        try:
            os.fchown(fd, uid, gid)
        except PermissionError:
            continue  # an ordinary user keeps own files as own
        return


def sync_folder(path: str) -> None:
    """Make the names in a folder durable.

    Raises:
        OSError: The folder cannot be opened or synced; a file system that cannot sync folders (EINVAL) is let go.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)


def make_private_folders(path: str) -> None:
    """Make a folder and those above it where they are missing, each for its owner alone, durable.

    Raises:
        OSError: As the kernel says.
    """
    if os.path.isdir(path):
        return
    around = os.path.dirname(path)
    make_private_folders(around)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return  # another run was quicker; what it is, the next step finds
    sync_folder(around)


def read_whole(path: str, *, limit: int) -> bytes:
    """Return the bytes of a regular file of at most `limit` bytes.

    Raises:
        OSError: As the kernel says; EFBIG: longer than `limit`.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return file.read(limit)


def write_all(fd: int, chunks: Iterable[bytes]) -> None:
    """Write every byte; for files that nobody sees before they are whole.

    Raises:
        OSError: As the kernel says; EIO: it took less than it was given, which a disk does only when it is in trouble.
    """
    for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), _BLOCK):
            block = view[start : start + _BLOCK]
            if os.write(fd, block) != len(block):
                raise OSError(errno.EIO, "the file took only a part of what was written")


def replace_file(path: str, data: bytes, *, mode: int = 0o600, sync: bool = False) -> None:
    """Put `data` at `path`, in place of what is there; with `sync` the name is durable too.

    Raises:
        OSError: Nothing was changed (but for a failed sync of the folder).
    """
    temp = f"{path}.{os.getpid()}.tmp"  # one name a process: a kill leaves at most one behind
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        _fill(fd, (data,), None, mode)
        os.rename(temp, path)
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays behind
        _remove(temp)
        raise
    if sync:
        sync_folder(os.path.dirname(path))


def create_file(path: str, data: bytes, *, like: os.stat_result, mode: int, temp: str | None = None) -> None:
    """Put a new file with all of `data` at `path`, durable; owner and group as `like`; `temp` is its name until then.

    Raises:
        FileExistsError: Something is there already; it was not touched.
        OSError: Nothing was made.
    """
    folder, name = os.path.split(path)
    temp = temp or os.path.join(folder, f".{name}.{new_uuid()}.tmp")
    fd = os.open(temp, NEW_FILE, mode)
    try:
        _fill(fd, (data,), like, mode)
        name_new_file(temp, path)
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays behind
        _remove(temp)
        raise
    sync_folder(folder)


def name_new_file(temp: str, path: str) -> None:
    """Give a finished file its name, which must be free; where the file system cannot, copy it exclusively.

    Raises:
        FileExistsError: The name is taken.
        OSError: As the kernel says.
    """
    try:
        renameat2_noreplace(temp, path)
        return
    except OSError as error:
        if error.errno not in NO_RENAME:
            raise
    try:
        os.link(temp, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _copy_exclusively(temp, path)
    os.unlink(temp)


def _copy_exclusively(temp: str, path: str) -> None:
    """For file systems without links (vfat, some FUSE): not atomic, so a failure takes the torn file away again."""
    source = os.stat(temp)
    data = read_whole(temp, limit=source.st_size)
    fd = os.open(path, NEW_FILE, stat.S_IMODE(source.st_mode))
    try:
        _fill(fd, (data,), source, stat.S_IMODE(source.st_mode))
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays behind
        _remove(path)
        raise


def _fill(fd: int, chunks: Iterable[bytes], like: os.stat_result | None, mode: int) -> None:
    """Write, own, sync and close."""
    try:
        write_all(fd, chunks)
        if like is not None:
            own_like(fd, like)
            os.fchmod(fd, mode)
        os.fsync(fd)
    finally:
        os.close(fd)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):  # the first error is the one to tell
        os.unlink(path)
