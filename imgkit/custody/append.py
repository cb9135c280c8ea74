"""How a record gets onto the disk: lock, compare, recover, reserve, one write, one fsync, remember (section 6)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import resource
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit.custody import checkpoint_files, enclosures
from imgkit.custody.clock import stamp
from imgkit.custody.durable import told
from imgkit.custody.record import encode, line_hash, plain
from imgkit.custody.schema import INTENT, VERSION, validate
from imgkit.custody.seal import Seal
from imgkit.custody.state import Head
from imgkit.custody.tail import Tail, difference, holds_since, read_tail, refuse_difference
from imgkit.errors import CustodyError
from imgkit.linux.files import acting_as, fallocate_keep_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imgkit.custody.session import Session
    from imgkit.linux.files import Identity

RESERVE = 128 << 10  # bytes kept free past the end: two of the longest lines
LOCK_SECONDS = 30.0
_CANNOT_RESERVE = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})


@dataclass(frozen=True, slots=True)
class Written:
    """A durable record.

    Attributes:
        seq: Its line.
        record: As it stands there.
    """

    seq: int
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unless:
    """Do not append if these bytes stand in the log at or after byte `start`: another run was quicker."""

    start: int
    needle: bytes


class Appender:
    """Appends to one log for one session. Every call opens, locks and closes the file: nothing is held between acts.

    Attributes:
        path: The log, absolute.
        log: Its uuid.
        session: Whose records these are.
        identity: With whose rights the case folder is touched; None: the caller's.
        environment: Facts about the log's place for `env`.
        aside: Enclosures that wait for the record that will name them.
        notices: Sentences for the examiner about what did not stop the append.
    """

    def __init__(self, path: str, log: str, session: Session, *, identity: Identity | None = None) -> None:
        self.path = path
        self.log = log
        self.session = session
        self.identity = identity
        self.notices: list[str] = []
        self.environment: dict[str, Any] = {}
        self.aside: list[enclosures.Aside] = []
        self._looked = False
        self._seal = Seal()

    def append(self, fields: dict[str, Any], *, unless: Unless | None = None) -> Written | None:
        """Append one record, durable when this returns; None where `unless` holds.

        Args:
            fields: The record without v, log, seq, prev and time; session and actor may be another run's (late).
            unless: When to leave it.

        Raises:
            CustodyError: Nothing acknowledged: the record may be absent, torn, or there without being known durable.
        """
        record, kept = self.prepare(fields)
        with self.held() as (fd, remembered):
            if unless is not None and self._holds(fd, unless):
                return None
            with self._told("read"):
                self._seal.refuse(fd, record, self.path)
            return self._write(fd, record, kept, remembered)

    def accept_difference(self, make: Callable[[dict[str, Any]], dict[str, Any]]) -> Written:
        """Append although the log is not what this host remembers; `make` gets `{code, remembered, found}`.

        Raises:
            CustodyError: As append; or the log is what this host remembers and there is nothing to accept.
        """
        with self._locked() as fd:
            code, known = self._difference(fd)
            with self._told("read"):
                tail = read_tail(fd, self.log, None, self.path)
            found = {"size": tail.seq, "bytes": tail.complete_bytes, "head": tail.head}
            record, kept = self.prepare(make({"code": code, "remembered": known, "found": found}))
            return self._write(fd, record, kept, None)

    def _difference(self, fd: int) -> tuple[str, dict[str, Any]]:
        """What is not as remembered, and what is remembered; a damaged memory is a difference of its own."""
        try:
            remembered = self.session.state.head(self.log)
        except CustodyError as error:
            if error.code != "NO_HEAD_MEMORY":
                raise
            return error.code, {"damaged": error.message}
        with self._told("read"):
            code = difference(fd, remembered) if remembered is not None else None
        if remembered is None or code is None:
            raise CustodyError(
                f"custody log {self.path!r} agrees with what this host remembers: nothing to accept"
            )
        return code, {"size": remembered.size, "bytes": remembered.bytes, "head": remembered.head}

    def prepare(self, fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return the record as it will stand but for number, chain and time, and the enclosures it names.

        Raises:
            CustodyError: Code SCHEMA: the fields are not what the type asks for.
        """
        self.session.begin()
        record = {"v": VERSION, "log": self.log, **self.session.fields(self.log), **plain(fields)}
        if self.environment and "env" in record:
            record["env"] = record["env"] | self.environment
        if "late" in record and "env" not in fields:
            record.pop("env", None)  # the facts of this run would be read as those of the late one
        record, kept = enclosures.fit(record)
        wrong = validate(record | {"seq": 2, "prev": "0" * 64, "time": stamp()})
        if wrong:
            raise CustodyError(
                f"a {fields.get('type')} record cannot be written: {'; '.join(wrong)}", code="SCHEMA"
            )
        return record, kept

    def _write(
        self, fd: int, record: dict[str, Any], kept: dict[str, bytes], remembered: Head | None
    ) -> Written:
        """Recover, reserve, write, remember; the lock is held."""
        with self._told("read"):
            tail = read_tail(fd, self.log, remembered, self.path)
        self._name_left_aside(fd)
        if tail.torn:
            tail = self._recover(fd, tail)
        self._reserve(fd, tail, must=record["phase"] == INTENT)
        written, tail = self._add(fd, tail, record, kept)
        try:
            self.session.state.remember(
                Head(self.log, self.path, tail.seq, tail.length, tail.head, tail.last)
            )
        except CustodyError as error:
            if record["phase"] == INTENT:
                raise  # nothing is done yet; an outcome is in the log, whatever this host remembers
            self.notices.append(error.message)
        return written

    def _recover(self, fd: int, tail: Tail) -> Tail:
        """Seal torn lines: close the last and append log.recovered in one write."""
        fields = {"type": "log.recovered", "phase": "event", "data": tail.recovery()}
        record, kept = self.prepare(fields)
        self._reserve(fd, tail, must=False)
        return self._add(fd, tail, record, kept)[1]

    def _add(
        self, fd: int, tail: Tail, record: dict[str, Any], kept: dict[str, bytes]
    ) -> tuple[Written, Tail]:
        """Put one record, and the enclosures it names, onto the disk."""
        own = record["session"] == self.session.uuid
        if own and self.session.introduced_to(self.log):
            record = {key: value for key, value in record.items() if key != "env"}
        record = record | {"seq": tail.seq + 1, "prev": tail.head, "time": stamp()}
        line = encode(record)
        with self._told("write enclosures beside"):
            aside = enclosures.put_aside(os.path.dirname(self.path), kept)
        try:
            self._write_once(fd, line if tail.closed else b"\n" + line, tail.length)
        except BaseException:  # whatever it is, a signal too: raised again once nothing stays behind
            enclosures.discard(aside)
            raise
        with self._told("sync"):
            os.fsync(fd)  # an error is final: a second try would say ok to what never reached the disk
        if own and "env" in record:
            self.session.introduced(self.log)
        self._publish(line, aside)
        length = tail.complete_bytes + len(line)
        head = line_hash(line)
        after = Tail(length, tail.seq + 1, head, len(line), tail.seq + 1, head, (), closed=True)
        return Written(after.seq, record), after

    def _write_once(self, fd: int, data: bytes, length: int) -> None:
        with self._told("append to"):
            _within_file_limit(length + len(data), self.path)
            count = os.write(fd, data)
        if count != len(data):
            raise CustodyError(
                f"cannot append to custody log {self.path!r}: {count} of {len(data)} bytes were written",
                hint="make room; the next record seals the torn line",
            )

    def _publish(self, line: bytes, aside: list[enclosures.Aside]) -> None:
        """Name the enclosures of a durable record, those that were put aside for it before among them."""
        named = [one for one in self.aside if one.name.encode() in line]
        try:
            with self._told("name the enclosures beside"):
                enclosures.publish([*aside, *named])
        except CustodyError as error:
            self.notices.append(error.message)  # the bytes are safe; the next run names them
        self.aside = [one for one in self.aside if one not in named]

    def _name_left_aside(self, fd: int) -> None:
        """Once a run: name the enclosures whose record a killed run still wrote."""
        if self._looked:
            return
        self._looked = True
        try:
            with self._told("look at the enclosures beside"):
                left = enclosures.left_aside(os.path.dirname(self.path))
                enclosures.publish([one for one in left if holds_since(fd, 0, one.name.encode())])
                self._name_checkpoints_left_aside(fd)
        except CustodyError as error:
            self.notices.append(error.message)  # no reason to lose an outcome

    def _name_checkpoints_left_aside(self, fd: int) -> None:
        for one in checkpoint_files.left_aside(os.path.dirname(self.path)):
            needles = checkpoint_files.needles_of(one)
            if needles and all(holds_since(fd, 0, needle) for needle in needles):
                self.notices += checkpoint_files.publish([one])

    def _reserve(self, fd: int, tail: Tail, *, must: bool) -> None:
        """Keep room past the end, so that an outcome finds it; without any, an intent is refused."""
        try:
            fallocate_keep_size(fd, tail.length, RESERVE)
        except OSError as error:
            if error.errno in _CANNOT_RESERVE:
                self._notice_once(f"{self.path}: the file system cannot reserve room for the custody log")
            elif must:
                with self._told("reserve room for"):
                    raise

    def _holds(self, fd: int, unless: Unless) -> bool:
        with self._told("read"):
            return holds_since(fd, unless.start, unless.needle)

    @contextlib.contextmanager
    def held(self) -> Iterator[tuple[int, Head | None]]:
        """The log, locked against every writer and found to be what this host remembers, and that memory.

        Raises:
            CustodyError: It cannot be locked or read; code ROLLBACK or FORK: it is not what this host remembers.
        """
        with self._locked() as fd:
            remembered = self.session.state.head(self.log)
            if remembered is not None:
                with self._told("read"):
                    refuse_difference(fd, remembered, self.path)
            yield fd, remembered

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The log, open and locked, as the identity of this appender."""
        with acting_as(self.identity):
            fd = open_log(self.path, self.log)
            try:
                lock(fd, self.path)
                with self._told("look at"):
                    if not os.path.samestat(os.fstat(fd), os.stat(self.path, follow_symlinks=False)):
                        raise CustodyError(
                            f"custody log {self.path!r} was replaced while it was being locked"
                        )
                yield fd
            finally:
                with self._told("close"):
                    os.close(fd)

    def _told(self, verb: str) -> contextlib.AbstractContextManager[None]:
        return told(f"{verb} custody log {self.path!r}")

    def _notice_once(self, text: str) -> None:
        if text not in self.notices:
            self.notices.append(text)


def open_log(path: str, log: str) -> int:
    """Open a log for appending: a regular file with one name.

    Raises:
        CustodyError: It cannot be opened, or is no such file.
    """
    with told(f"open custody log {path!r}"):
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        with told(f"look at custody log {path!r}"):
            found = os.fstat(fd)
            if found.st_nlink > 1 and stat.S_ISREG(found.st_mode):
                _finish_creation(path, log, found)
                found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise CustodyError(
                f"custody log {path!r} is no regular file with one name ({found.st_nlink} names)",
                hint="a second hard link lets others write to it unseen: remove that link",
            )
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
        os.close(fd)
        raise
    return fd


def creation_name(path: str, log: str) -> str:
    """Return the name under which a log is written before it gets its own."""
    return os.path.join(os.path.dirname(path), f".custody.{log}.tmp")


def _finish_creation(path: str, log: str, found: os.stat_result) -> None:
    """A crash between link and unlink of a creation leaves two names: take the first one away."""
    temp = creation_name(path, log)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.stat(temp, follow_symlinks=False), found):
            os.unlink(temp)


def lock(fd: int, path: str, *, seconds: float = LOCK_SECONDS) -> None:
    """Lock the log against every other writer, waiting at most `seconds`. The kernel frees the lock when we die.

    Raises:
        CustodyError: Somebody else holds it all the time; the message says who.
    """
    deadline = time.monotonic() + seconds
    while True:
        with told(f"lock custody log {path!r}"):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    break
        time.sleep(random.uniform(0.0002, 0.004))  # noqa: S311  (spreads the waiters, decides nothing)
    raise CustodyError(
        f"custody log {path!r} is locked by {holder(fd)} for more than {seconds:.0f} s",
        hint="wait for it, or end it; the lock goes with its process",
    )


def holder(fd: int) -> str:
    """Name the process that holds a flock on the open file, as far as /proc tells."""
    found = os.fstat(fd)
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    with contextlib.suppress(OSError), open("/proc/locks", encoding="ascii") as locks:
        for line in locks:
            words = line.split()
            if words[1] == "FLOCK" and words[5] == place:
                return _process(words[4])
    return "another process (on another host, or not shown in /proc/locks)"


def _process(pid: str) -> str:
    name = "unknown"
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
        name = comm.read().strip()
    return f"process {pid} ({name})"


def _within_file_limit(size: int, path: str) -> None:
    """RLIMIT_FSIZE would cut the write in two; seen before, nothing is torn."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY and size > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
