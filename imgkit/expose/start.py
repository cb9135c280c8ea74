"""In the command: start the process that serves, make sure that it opened the very files we did, hold writers off."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import secrets
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, Literal, Self

from imgkit import errors
from imgkit.errors import Busy, HostError, ImageError, ImgkitError, MediaReadError
from imgkit.expose import command_line
from imgkit.expose.channel import Channel
from imgkit.expose.facts import ExposureFacts
from imgkit.expose.kernel_mount import NAME_LIMIT
from imgkit.linux import process
from imgkit.linux.files import acting_as, take_read_lease
from imgkit.linux.signals import let_through

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imgkit.image import Image, Segment
    from imgkit.linux.files import Identity

    TakeGuard = Callable[[int, str], str]

_COMING_UP = 60.0  # seconds for opening the image again
_ANSWER = 10.0  # seconds for anything else
_GLANCE = 0.1  # seconds after which it is looked whether somebody pressed Ctrl-C
_LEASES_AT_ONCE = 64
_SPARE_FDS = 32  # descriptors of either process, beyond those of the files
_MOST_OPEN = 224  # files of an image that its reader has open at a time, generously
_SMALLEST_INO, _LARGEST_INO = 1 << 32, 1 << 53  # exact in any JSON reader
# All of its environment: nothing of ours (LD_PRELOAD, PYTHONPATH, secrets). glibc is told to keep the memory of one block
# for the next, instead of giving it back to the kernel a thousand times a second.
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
NO_LEASE = "writers are not held back while the image is exposed (no lease here): verify afterwards"
TOO_MANY_FILES = "writers are not held back while the image is exposed: it has more files than may be open: verify afterwards"


def lease_or_none(fd: int, path: str) -> str:
    """The plain way to hold writers off a file: `lease`, or `none` where there are no leases.

    Raises:
        Busy: Somebody has it open for writing.
    """
    try:
        take_read_lease(fd)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            raise Busy(
                f"cannot expose {path}: somebody has it open for writing",
                hint="wait until the acquisition or copy is done, or stop that process",
            ) from error
        return "none"
    return "lease"


class Server:
    """The process that serves, while it comes up. A context manager: left without `keep()`, it ends the process.

    Attributes:
        pid: Of the process.
        started: Its start time, in clock ticks since boot.
        ino: Inode number that the served file has.
        guard: `lease` once writers are held off every file.
        notices: Sentences for the examiner.
    """

    def __init__(self, image: Image, name: str, identity: Identity | None) -> None:
        self._image = image
        self._name = _checked_name(name)
        self._identity = identity
        self.ino = secrets.randbelow(_LARGEST_INO - _SMALLEST_INO) + _SMALLEST_INO
        self.guard: Literal["lease", "none"] = "none"
        self.notices: tuple[str, ...] = ()
        self._errors = os.memfd_create("imgkit-exposure-errors")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._channel = Channel(ours)
        try:
            self.pid = self._spawn(theirs.fileno())
            self.started = process.start_time(self.pid)
        except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
            self._channel.close()
            os.close(self._errors)
            raise
        finally:
            theirs.close()
        self._kept = False

    def _spawn(self, end: int) -> int:
        image = self._image
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "child.py")
        words = command_line.words(name=self._name, path=image.path, size=image.size, ino=self.ino)
        if not sys.executable:
            raise HostError("cannot expose an image: this Python does not say where its interpreter is")
        try:
            return process.spawn(
                [sys.executable, "-I", "-S", "-B", program, *words],
                environment=_ENVIRONMENT,
                descriptors={0: end, 2: self._errors},
            )
        except OSError as error:
            raise HostError(f"cannot start {sys.executable}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        os.close(self._errors)
        if not self._kept:
            process.kill_child(self.pid)

    def open(self) -> None:
        """Have it open the image, and compare.

        Raises:
            ImageError: It cannot, or what it opened is not what we have open.
            HostError: It did not come up.
        """
        self._channel.limit(_COMING_UP)
        self._send(self._setup())
        self._wait_for_answer()
        answer = self._answer()
        opened = answer["opened"]
        ours = {
            "format": self._image.format,
            "size": self._image.size,
            "files": _facts_of(self._image.segments),
        }
        if opened != ours:
            raise ImageError(
                f"{self._image.path} is another image than when it was opened: {_difference(ours, opened)}",
                hint="something changes the image: stop it, and verify the image before going on",
            )
        self.notices = (*self.notices, *answer["notices"])

    def _wait_for_answer(self) -> None:
        """Opening a set of many files takes a while: until it is done an interrupt ends the wait, and with it the process."""
        deadline = time.monotonic() + _COMING_UP
        while not self._channel.is_answered(_GLANCE) and time.monotonic() < deadline:
            let_through()

    def _setup(self) -> dict[str, Any]:
        image, identity = self._image, self._identity
        stated = image.sector_size_source == "stated by the user"
        return {
            "modules": _modules(),
            "name": self._name,
            "path": image.path,
            "sector_size": image.sector_size if stated else None,
            "readers": sorted(name for name in sys.modules if name.startswith("imgkit.containers")),
            "files": [item.path for item in image.segments],
            "identity": None if identity is None else [identity.uid, identity.gid, identity.groups],
            "ino": self.ino,
            "time_ns": max((item.stat.st_mtime_ns for item in image.segments), default=0),
            "owner": [os.geteuid(), os.getegid()],
        }

    def hold_writers_off(self, take_guard: TakeGuard) -> None:
        """Take a lease on every file, and hand them over to the process that serves: they live as long as it does.

        Raises:
            Busy: Somebody has one of them open for writing.
        """
        segments = self._image.segments
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if len(segments) + min(len(segments), _MOST_OPEN) + _SPARE_FDS > most:
            self.notices = (*self.notices, TOO_MANY_FILES)
            return
        held = "lease"
        for start in range(0, len(segments), _LEASES_AT_ONCE):
            with self._leased(segments[start : start + _LEASES_AT_ONCE], take_guard) as (fds, guard):
                self._send({"leases": len(fds)}, tuple(fds))
            if guard != "lease":
                held = guard
                break
        if held == "lease":
            self.guard = "lease"
        else:
            self.notices = (*self.notices, NO_LEASE)

    @contextlib.contextmanager
    def _leased(
        self, segments: tuple[Segment, ...], take_guard: TakeGuard
    ) -> Iterator[tuple[list[int], str]]:
        fds: list[int] = []
        try:
            guard = "lease"
            for item in segments:
                fds.append(self._reopen(item))
                if take_guard(fds[-1], item.path) != "lease":
                    guard = "none"
                    break
            yield fds, guard
        finally:
            for fd in fds:
                os.close(fd)

    def _reopen(self, segment: Segment) -> int:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        with acting_as(self._identity):
            try:
                fd = os.open(segment.path, flags)
            except OSError as error:
                raise ImageError(f"cannot open {segment.path} again: {error.strerror}") from error
        facts = os.fstat(fd)
        if (facts.st_dev, facts.st_ino) != (segment.stat.st_dev, segment.stat.st_ino):
            os.close(fd)
            raise ImageError(f"{segment.path} is another file than when it was opened")
        return fd

    def go(self, connection: int) -> None:
        """Have it serve on a FUSE connection."""
        self._channel.limit(_ANSWER)
        self._send({"go": True, "guard": self.guard}, (connection,))

    def seen(self, dev: int) -> None:
        """Tell it under which device number its file is seen, and wait until whoever lists exposures can read that."""
        self._send({"dev": dev})
        self._answer()

    def facts(self, found: os.stat_result, directory: str | None = None) -> ExposureFacts:
        """What is known of the exposure, whose served file is `found`."""
        return ExposureFacts(
            name=self._name,
            pid=self.pid,
            started=self.started,
            path=self._image.path,
            size=found.st_size,
            dev=found.st_dev,
            ino=found.st_ino,
            guard=self.guard,
            directory=directory,
            notices=self.notices,
        )

    def keep(self) -> None:
        """It is to go on without us."""
        self._kept = True
        process.leave_child(self.pid)

    def _send(self, document: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        try:
            self._channel.send(document, fds)
        except OSError as error:
            raise self._silent(error) from error

    def _answer(self) -> dict[str, Any]:
        try:
            document, _ = self._channel.receive()
        except (EOFError, OSError) as error:
            raise self._silent(error) from error
        if "error" in document:
            raise _error_again(document)
        return document

    def _silent(self, error: Exception) -> HostError:
        """It ended without a word, or says nothing."""
        if isinstance(error, TimeoutError):
            return HostError(
                f"the process that should serve {self._image.path} does not answer (pid {self.pid})"
            )
        said = os.pread(self._errors, 1 << 16, 0).decode(errors="replace").strip().rpartition("\n")[2]
        return HostError(
            f"the process that should serve {self._image.path} ended while it came up"
            + (f": {said}" if said else "")
        )


def _checked_name(name: str) -> str:
    raw = os.fsencode(name)
    if not raw or len(raw) > NAME_LIMIT or b"/" in raw or b"\0" in raw or raw in {b".", b".."}:
        msg = f"no file can be named {name!r}"
        raise errors.UsageError(msg)
    return name


def _modules() -> list[str]:
    """Where the process that serves finds modules: where we do, but for what is relative to our working directory."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    absolute = [entry for entry in sys.path if os.path.isabs(entry)]
    return absolute if package in absolute else [*absolute, package]


def _facts_of(segments: tuple[Segment, ...]) -> list[list[Any]]:
    return [
        [s.path, s.role, s.stat.st_dev, s.stat.st_ino, s.size, s.stat.st_mtime_ns, s.stat.st_ctime_ns]
        for s in segments
    ]


def _difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    for word in ("format", "size"):
        if ours[word] != theirs[word]:
            return f"its {word} was {ours[word]} and is {theirs[word]}"
    if len(ours["files"]) != len(theirs["files"]):
        return f"it had {len(ours['files'])} files and has {len(theirs['files'])}"
    changed = [mine[0] for mine, other in zip(ours["files"], theirs["files"], strict=True) if mine != other]
    return f"{changed[0]} has changed or been replaced"


def _error_again(document: dict[str, Any]) -> ImgkitError:
    """The error that the other process raised, as its class; one that needs more than words as its base."""
    kind = getattr(errors, document["error"], ImgkitError)
    if not issubclass(kind, ImgkitError) or issubclass(kind, MediaReadError):
        kind = ImageError
    error: ImgkitError = kind(document["message"], hint=document["hint"])
    return error
