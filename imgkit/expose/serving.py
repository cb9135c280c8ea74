"""In the process that serves: open the image, say what was opened, give up every right, and answer the kernel."""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import syslog
import threading
from typing import TYPE_CHECKING, Any

from imgkit.containers import open_image
from imgkit.errors import HostError, ImgkitError
from imgkit.expose import command_line, confine
from imgkit.expose.channel import Channel
from imgkit.expose.file_system import FileSystem, ServedFile
from imgkit.expose.read_ahead import ReadAhead
from imgkit.linux.files import Identity

if TYPE_CHECKING:
    import socket

    from imgkit.image import Image

_CONTAINERS = "imgkit.containers"
_MOST_COMPLAINTS = 20
_STACK = 1 << 20  # bytes a thread: what is limited is memory that is reserved, not used
_THREADS = max(4, min(16, 2 * (os.cpu_count() or 1)))


def serve(end: socket.socket, setup: dict[str, Any]) -> None:
    """Never returns. What goes wrong before the image is served is said to the command, which raises it again."""
    channel = Channel(end)
    state = command_line.StateWord()
    with _Told(channel, setup["path"]):
        image = _open(setup)
        channel.send({"opened": _description(image), "notices": setup["notices"]})
        connection, guard, leases = _wait_for_go(channel)
    del leases  # numbers: the descriptors stay open until this process ends
    system = _start(connection, image, setup)
    _report(channel, state, setup["name"], guard)
    _until_unmounted(system)


class _Told:
    """Whatever ends the process before it serves is said to the command first. Its own words could go nowhere else."""

    def __init__(self, channel: Channel, path: str) -> None:
        self._channel = channel
        self._path = path

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if not isinstance(error, ImgkitError | EOFError):
            error = HostError(f"cannot serve {self._path}: {type(error).__name__}: {error}")
        if isinstance(error, ImgkitError):  # EOFError: whoever wanted it is gone
            with contextlib.suppress(OSError):
                self._channel.send(
                    {"error": type(error).__name__, "message": error.message, "hint": error.hint}
                )
        os._exit(1)


def _open(setup: dict[str, Any]) -> Image:
    """Open the image with the rights that were asked for, when everything but its files is out of reach."""
    setup["notices"] = []
    threading.stack_size(_STACK)
    syslog.openlog("imgkit", syslog.LOG_PID | syslog.LOG_NDELAY, syslog.LOG_DAEMON)
    try:
        _load(setup["readers"])
        confine.limit_resources()
        if setup["identity"] is not None:
            uid, gid, groups = setup["identity"]
            confine.become(Identity(uid, gid, tuple(groups)))
        confined = confine.deny_all_but(setup["files"], opening=True)
        image = open_image(setup["path"], sector_size=setup["sector_size"])
        _warm_up(image)
        if confined:  # first: nobody may not look into root's folders, not even to name what may be read
            confine.deny_all_but(setup["files"], opening=False)
        else:
            setup["notices"].append(confine.NO_LANDLOCK)
        if not confine.drop_privileges(len(setup["files"])):
            setup["notices"].append(confine.NO_NOBODY)
    except OSError as error:
        raise HostError(f"cannot confine the process that serves {setup['path']}: {error}") from error
    except MemoryError as error:
        most = confine.MEMORY_LIMIT >> 20
        raise HostError(f"opening {setup['path']} takes more than {most} MiB of memory") from error
    return image


def _load(readers: list[str]) -> None:
    """Have every module loaded that reading may need: another user may not see them, and later nobody does.

    Args:
        readers: The modules of containers/ that the command has loaded: the image's own is among them.
    """
    for name in (*readers, "concurrent.futures.thread", "traceback", "queue", "zlib"):
        module = importlib.import_module(name)
        if name != _CONTAINERS:
            for found in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{name}."):
                importlib.import_module(found.name)


def _warm_up(image: Image) -> None:
    """Read at both ends, while more may be opened than later."""
    for offset in {0, max(0, image.size - 1)}:
        try:
            image.read_at(offset, 1)
        except ImgkitError:
            continue  # who reads there is told


def _description(image: Image) -> dict[str, Any]:
    files = [
        (
            item.path,
            item.role,
            item.stat.st_dev,
            item.stat.st_ino,
            item.size,
            item.stat.st_mtime_ns,
            item.stat.st_ctime_ns,
        )
        for item in image.segments
    ]
    return {"format": image.format, "size": image.size, "files": files}


def _wait_for_go(channel: Channel) -> tuple[int, str, list[int]]:
    """The FUSE connection, what the guard is, and the leases to hold as long as this process lives.

    Raises:
        EOFError: The command was killed, or does not want it.
    """
    leases: list[int] = []
    while True:
        document, fds = channel.receive()
        if "go" in document:
            return fds[0], document["guard"], leases
        leases += fds


def _start(connection: int, image: Image, setup: dict[str, Any]) -> FileSystem:
    """Answer the kernel from here on, in threads of their own."""
    uid, gid = setup["owner"]
    file = ServedFile(setup["name"], setup["ino"], image.size, setup["time_ns"], uid, gid)
    system = FileSystem(connection, file, ReadAhead(image), _Complainer())
    for _ in range(_THREADS):
        threading.Thread(target=_until_unmounted, args=(system,), daemon=True).start()
    return system


def _report(channel: Channel, state: command_line.StateWord, name: str, guard: str) -> None:
    """Wait until the command has seen the file, note that for everybody, and let go of all that came from the command."""
    os.dup2(1, 0)
    os.dup2(1, 2)
    try:
        seen, _ = channel.receive()
        state.write(dev=seen["dev"], guard=guard)
        channel.send({"serving": True})
    except (EOFError, OSError):
        syslog.syslog(syslog.LOG_WARNING, f"{name}: the command that wanted it ended before it was seen")
    channel.close()


def _until_unmounted(system: FileSystem) -> None:
    """The process ends with the connection, at once, whatever its threads are doing."""
    try:
        system.serve()
    finally:
        os._exit(0)


class _Complainer:
    """Sentences for the system's log: whoever reads the file sees only that a read failed. The first few of them."""

    def __init__(self) -> None:
        self._left = _MOST_COMPLAINTS

    def __call__(self, sentence: str) -> None:
        if self._left > 0:
            self._left -= 1
            syslog.syslog(syslog.LOG_ERR, sentence)
