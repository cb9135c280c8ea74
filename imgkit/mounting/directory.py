"""The directory a file system is mounted on: opened without following a link, empty, or made for the purpose."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgkit.errors import MountError, NotPermitted
from imgkit.linux.files import acting_as
from imgkit.linux.mount import read_mountinfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgkit.linux.files import Identity

RUN_FOLDER = "/run/imgkit"
_HINT = "name an empty directory, or one that does not exist yet"


@dataclass(frozen=True, slots=True)
class Place:
    """A directory held by descriptor, so that it stays the one that was looked at.

    Attributes:
        fd: O_PATH descriptor.
        path: Its name, resolved by the kernel.
        created: Directories that were made for it, outermost first.
    """

    fd: int
    path: str
    created: tuple[str, ...]


def is_below_run_folder(path: str) -> bool:
    """Whether imgkit owns the directory by its name alone."""
    return path.startswith(RUN_FOLDER + "/")


@contextlib.contextmanager
def place_for_mount(directory: str, identity: Identity | None) -> Iterator[Place]:
    """Opens or makes the directory; what was made is taken away again if the block raises.

    Args:
        directory: Where the file system is to be seen.
        identity: Whose rights reach and make it; None, and everything below /run/imgkit: the process's own.

    Raises:
        MountError: It is no directory, a symbolic link, not empty, a mount point already, about to become one, or
            cannot be made.
        NotPermitted: The same, for want of rights.
    """
    path = os.path.abspath(directory)
    actor = None if is_below_run_folder(path) else identity
    made: list[str] = []
    try:
        with acting_as(actor), _told_as_mount_error(path):
            _make_missing(path, made)
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with contextlib.ExitStack() as held:
                with acting_as(actor), _told_as_mount_error(path):
                    _refuse_mount_point(fd, path)  # before anything is asked of what is mounted there
                    held.callback(os.close, _locked(fd, path))
                    resolved = _checked(fd, path)
                yield Place(fd, resolved, tuple(made))
        finally:
            os.close(fd)
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays behind
        with acting_as(actor):
            _remove(made)
        raise


def check_directory(directory: str, *, identity: Identity | None) -> None:
    """Refuses what place_for_mount would refuse, and makes nothing.

    Args:
        directory: Where the file system is to be seen.
        identity: As of place_for_mount.

    Raises:
        MountError: It is no directory, a symbolic link, not empty, or a mount point already.
        NotPermitted: The same, for want of rights.
    """
    path = os.path.abspath(directory)
    actor = None if is_below_run_folder(path) else identity
    with acting_as(actor), _told_as_mount_error(path):
        if _is_there(path):
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                _checked(fd, path)
            finally:
                os.close(fd)
            return
        above = os.path.dirname(path)
        while not _is_there(above):
            above = os.path.dirname(above)
        os.close(os.open(above, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))


@contextlib.contextmanager
def _told_as_mount_error(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.EPERM, errno.EACCES}:
            msg = f"not permitted to use {path} as a mount point: {error.strerror}"
            raise NotPermitted(msg, hint=_HINT) from error
        reason = error.strerror
        if error.errno in {errno.ENOTDIR, errno.ELOOP}:
            reason = "it is a symbolic link" if os.path.islink(path) else "it is no directory"
        msg = f"cannot mount on {path}: {reason}"
        raise MountError(msg, hint=_HINT) from error


def _is_there(path: str) -> bool:
    """Whether there is something of that name, also what may not be looked at: FUSE shows root nothing of another user's."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _make_missing(path: str, made: list[str]) -> None:
    """Like mkdir -p, and remembers; `made` runs from the outermost to the innermost directory."""
    missing = []
    while not _is_there(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        with contextlib.suppress(
            FileExistsError
        ):  # somebody made it meanwhile: then it is not ours to remove
            os.mkdir(folder, 0o755)
            made.append(folder)


def _locked(fd: int, path: str) -> int:
    """A descriptor that keeps others of us off until it is closed: two that find the directory empty would mount on it both."""
    lock = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        msg = f"cannot mount on {path}: another command mounts there at this moment"
        raise MountError(msg, hint=_HINT) from error
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF}:
            os.close(lock)
            raise
        # A file server without locks: no worse than before there were any.
    return lock


def _refuse_mount_point(fd: int, path: str) -> str:
    resolved = os.readlink(f"/proc/self/fd/{fd}")
    if any(info.target == resolved for info in read_mountinfo()):
        msg = f"cannot mount on {path}: something is mounted there already"
        raise MountError(msg, hint=_HINT)
    return resolved


def _checked(fd: int, path: str) -> str:
    """The resolved name of an empty directory on which nothing is mounted."""
    resolved = _refuse_mount_point(fd, path)
    if os.listdir(f"/proc/self/fd/{fd}"):
        msg = f"cannot mount on {path}: it is not empty, and its content would be hidden"
        raise MountError(msg, hint=_HINT)
    return resolved


def _remove(made: Sequence[str]) -> None:
    for folder in reversed(made):
        with contextlib.suppress(OSError):  # somebody uses it by now: an empty directory harms nobody
            os.rmdir(folder)


def remove_mount_point(path: str, created: Sequence[str], identity: Identity | None) -> None:
    """Takes away the directories that imgkit made where they are empty; below /run/imgkit all are its own."""
    if is_below_run_folder(path):
        folders = [path]
        while is_below_run_folder(os.path.dirname(folders[-1])):
            folders.append(os.path.dirname(folders[-1]))
        _remove(folders[::-1])
        return
    with acting_as(identity):
        _remove(created)
