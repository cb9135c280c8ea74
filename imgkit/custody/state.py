"""StateFolder: what this host remembers outside the case folders: heads of logs, running sessions, the spool."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from imgkit.custody.durable import make_private_folders, read_whole, replace_file, sync_folder, told
from imgkit.custody.record import decode_document, encode_document, path_fields, path_of
from imgkit.errors import CustodyError
from imgkit.linux.files import Identity, acting_as

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD_LIMIT = 65_536  # bytes of a remembered head: a path and four numbers
_SPOOL_LIMIT = 1 << 30  # bytes of a spooled record: an act with a list of a few million entries


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a log as this host last left it.

    Attributes:
        log: The log's uuid.
        path: Where it lay, absolute.
        size: Complete lines.
        bytes: Bytes of these lines.
        head: H(size).
        last: Bytes of line `size` with its LF: it lies at [bytes - last, bytes).
    """

    log: str
    path: str
    size: int
    bytes: int
    head: str
    last: int


class StateFolder:
    """The folder `heads/`, `sessions/` and `spool/` of one user on one host; made at first use, for that user alone.

    Attributes:
        path: Absolute.
        identity: With whose rights it is touched: those of the thread that made this object, unless stated.
    """

    def __init__(self, path: str | os.PathLike[str], *, identity: Identity | None = None) -> None:
        self.path = os.path.abspath(path)
        self.identity = identity or Identity.of_thread()  # also inside another identity's acting_as

    def head(self, log: str) -> Head | None:
        """Return what is remembered of that log, or None.

        Raises:
            CustodyError: The memory is there and cannot be read.
        """
        path = self._file("heads", f"{log}.json")
        with acting_as(self.identity), told(f"read what is remembered of log {log} from {path!r}"):
            try:
                document = read_whole(path, limit=_HEAD_LIMIT)
            except FileNotFoundError:
                return None
        try:
            return _head_of(decode_document(document), log)
        except (CustodyError, KeyError, TypeError) as error:
            raise CustodyError(
                f"what {path!r} remembers of log {log} is damaged",
                code="NO_HEAD_MEMORY",
                hint="compare the log with a receipt or a copy, then: imgkit log accept-rollback --reason TEXT",
            ) from error

    def remember(self, head: Head) -> None:
        """Keep the head of a log, durable; call under the log's lock.

        Raises:
            CustodyError: It could not be written; the earlier memory stands.
        """
        fields = asdict(head)
        fields |= path_fields(fields.pop("path"))
        with acting_as(self.identity), told(f"remember the head of log {head.log} in {self.path!r}"):
            folder = self._folder("heads")
            replace_file(os.path.join(folder, f"{head.log}.json"), encode_document(fields))

    def tree(self, log: str) -> dict[str, Any] | None:
        """Return what remember_tree kept for that log; None where there is nothing to be read: it only saves time."""
        with acting_as(self.identity), contextlib.suppress(OSError, CustodyError):
            document = decode_document(read_whole(self._file("trees", f"{log}.json"), limit=_HEAD_LIMIT))
            return document if isinstance(document, dict) else None
        return None

    def remember_tree(self, log: str, fields: dict[str, Any]) -> None:
        """Keep what saves the next checkpoint of that log from hashing every line again.

        Raises:
            CustodyError: It could not be written.
        """
        with acting_as(self.identity), told(f"remember the tree of log {log} in {self.path!r}"):
            replace_file(os.path.join(self._folder("trees"), f"{log}.json"), encode_document(fields))

    def last_path(self, log: str) -> str | None:
        """Return where that log was last seen on this host, or None."""
        head = self.head(log)
        return head.path if head is not None else None

    def known_logs(self) -> Sequence[str]:
        """Return the uuids of the logs that this memory knows.

        Raises:
            CustodyError: The folder is there and cannot be read.
        """
        with acting_as(self.identity), told(f"list the logs that {self.path!r} remembers"):
            try:
                names = os.listdir(self._file("heads"))
            except FileNotFoundError:
                return ()
        return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))

    def hold_session(self, session: str) -> int:
        """Make the session's file and lock it; return its descriptor, whose life is the session's.

        Raises:
            CustodyError: The folder cannot be written to.
        """
        with acting_as(self.identity), told(f"note the running session in {self.path!r}"):
            folder = self._folder("sessions")
            _sweep(folder)
            path = os.path.join(folder, session)
            while True:
                fd = _locked_file(path)
                if _is_file_of(path, fd):
                    return fd
                os.close(fd)  # another run's sweep took it between its making and its locking

    def release_session(self, session: str, fd: int) -> None:
        """Remove the session's file and let its lock go.

        Raises:
            CustodyError: The file cannot be removed; the lock is free all the same.
        """
        try:
            what = f"remove the note of the session from {self.path!r}"
            with acting_as(self.identity), told(what), contextlib.suppress(FileNotFoundError):
                os.unlink(
                    self._file("sessions", session)
                )  # it may have been swept between its making and locking
        finally:
            os.close(fd)

    def session_runs(self, session: str) -> bool | None:
        """Whether that session's lock is held; None: this folder does not know the session.

        Raises:
            CustodyError: The file is there and cannot be opened.
        """
        path = self._file("sessions", session)
        with acting_as(self.identity), told(f"look at session {session} in {self.path!r}"):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(fd)
            return False

    def put_in_spool(self, log: str, name: str, document: bytes) -> None:
        """Keep a record that its log could not take, durable.

        Raises:
            CustodyError: It could not be written.
        """
        with acting_as(self.identity), told(f"keep a record of log {log} in the spool of {self.path!r}"):
            folder = self._folder("spool", log)
            replace_file(os.path.join(folder, name), document, sync=True)

    def in_spool(self, log: str) -> Sequence[str]:
        """Return the names of what waits for that log, oldest first.

        Raises:
            CustodyError: The folder is there and cannot be read.
        """
        with acting_as(self.identity), told(f"list the spool of log {log} in {self.path!r}"):
            try:
                names = os.listdir(self._file("spool", log))
            except FileNotFoundError:
                return ()
        return sorted(name for name in names if name.endswith(".json"))

    def spooled_logs(self) -> Sequence[str]:
        """Return the uuids of the logs for which something waits.

        Raises:
            CustodyError: The folder is there and cannot be read.
        """
        with acting_as(self.identity), told(f"list the spool in {self.path!r}"):
            try:
                logs = sorted(os.listdir(self._file("spool")))
            except FileNotFoundError:
                return ()
        return [log for log in logs if self.in_spool(log)]

    def from_spool(self, log: str, name: str) -> bytes:
        """Return what put_in_spool kept.

        Raises:
            CustodyError: It cannot be read.
        """
        path = self._file("spool", log, name)
        with acting_as(self.identity), told(f"read the spooled record {path!r}"):
            return read_whole(path, limit=_SPOOL_LIMIT)

    def drop_from_spool(self, log: str, name: str) -> None:
        """Forget what the log has taken.

        Raises:
            CustodyError: The file cannot be removed.
        """
        path = self._file("spool", log, name)
        with acting_as(self.identity), told(f"remove the spooled record {path!r}"):
            os.unlink(path)
            sync_folder(os.path.dirname(path))

    def _file(self, *names: str) -> str:
        return os.path.join(self.path, *names)

    def _folder(self, *names: str) -> str:
        """The folder, made where it is missing; call inside acting_as."""
        path = self._file(*names)
        make_private_folders(path)
        return path


def _locked_file(path: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)  # nobody holds it but another run's look, for microseconds
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
        os.close(fd)
        raise
    return fd


def _is_file_of(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False


def _sweep(folder: str) -> None:
    """Remove the files of sessions that were killed: their locks are free, which says as much as no file."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):  # gone, held, or not ours: it stays
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
            finally:
                os.close(fd)


def _head_of(fields: dict[str, Any], log: str) -> Head:
    if fields["log"] != log:
        raise KeyError(log)
    size, count, last = (int(fields[key]) for key in ("size", "bytes", "last"))
    return Head(log=log, path=path_of(fields), size=size, bytes=count, head=str(fields["head"]), last=last)
