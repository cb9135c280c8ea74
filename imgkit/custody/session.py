"""Actor: who acts; Session: one run of imgkit, known to later runs by a lock that dies with it."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from imgkit import __version__
from imgkit.custody.record import new_uuid, plain, printable
from imgkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from imgkit.custody.state import StateFolder

_SECRET = re.compile(
    r"-{1,2}[a-z-]*(pass(word|phrase|wd)?|secret|token|pin|recovery-key|key-hex|key)", re.IGNORECASE
)
# Of a URL: who logs in, and what authorities take a key in.
_USERINFO = re.compile(r"(?<=://)[^/@?#\s]+(?=@)")
_QUERY = re.compile(r"(https?://[^\s?#]*[?#])\S+")
_REMOVED = "[removed]"
_NO_LOGINUID = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts.

    Attributes:
        name: As it shall stand in the record.
        id: An address or account that tells people of one name apart.
        role: Function in the case, or None.
        org: Laboratory, agency or company, or None.
    """

    name: str
    id: str
    role: str | None = None
    org: str | None = None

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.id.strip():
            raise UsageError("the examiner's name and id cannot be empty", hint="say --examiner 'NAME <ID>'")

    def fields(self) -> dict[str, str]:
        """Return the record's `actor`."""
        fields = {"name": self.name, "id": self.id, "role": self.role, "org": self.org}
        return {key: printable(text) for key, text in fields.items() if text}


class Session:
    """One run of imgkit. A context manager; until it ends, later runs take its open intents for running.

    The lock is made with the first record and is not inherited by programs that are started; a forked child that
    outlives the run must close `lock_fd`.

    Attributes:
        uuid: In every record of the run.
        actor: Who acts.
        state: The host's memory.
        lock_fd: Descriptor of the held lock, or None before the first record.
    """

    def __init__(
        self,
        actor: Actor,
        state: StateFolder,
        argv: Sequence[str] = (),
        *,
        libraries: Mapping[str, str | None] | None = None,
    ) -> None:
        """Args: `libraries` are names and versions for `env` (libtsk, libblkid, containers); None is left out."""
        self.uuid = new_uuid()
        self.actor = actor
        self.state = state
        self.lock_fd: int | None = None
        self._argv = list(argv)
        self._libraries = dict(libraries or {})
        self._introduced: set[str] = set()

    def begin(self) -> None:
        """Hold the session's lock from now on.

        Raises:
            CustodyError: The state folder cannot be written to.
        """
        if self.lock_fd is None:
            self.lock_fd = self.state.hold_session(self.uuid)

    def fields(self, log: str) -> dict[str, Any]:
        """Return session and actor of a record, and `env` where the log has none of this session yet."""
        fields: dict[str, Any] = {"session": self.uuid, "actor": self.actor.fields()}
        if log not in self._introduced:
            fields["env"] = self.environment()
        return fields

    def introduced(self, log: str) -> None:
        """Note that the log holds the `env` of this session."""
        self._introduced.add(log)

    def introduced_to(self, log: str) -> bool:
        """Whether the log holds the `env` of this session."""
        return log in self._introduced

    def environment(self) -> dict[str, Any]:
        """Return the facts about program, machine and user that the first record of a session carries."""
        host = os.uname()
        facts = {
            "tool": {"name": "imgkit", "version": __version__, "record_sha256": _record_sha256()},
            "python": ".".join(str(part) for part in sys.version_info[:3]),
            "kernel": host.release,
            "libraries": self._libraries or None,
            "host": host.nodename,
            "pid": os.getpid(),
            "started": process_start(os.getpid()),
            "state": printable(self.state.path),
            "uid": os.getuid(),
            "euid": os.geteuid(),
            "loginuid": _loginuid(),
            "sudo_user": os.environ.get("SUDO_USER") or None,
            "argv": without_secrets(self._argv),
        }
        environment: dict[str, Any] = plain(facts)
        return environment

    def close(self) -> None:
        """End the session; closing twice is allowed.

        Raises:
            CustodyError: Its file in the state folder could not be removed (its lock is free all the same).
        """
        if self.lock_fd is not None:
            fd, self.lock_fd = self.lock_fd, None
            self.state.release_session(self.uuid, fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def without_secrets(argv: Sequence[str]) -> list[str]:
    """Return argv for the record: printable, and the value of every option that takes a secret replaced."""
    shown, hide_next = [], False
    for word in argv:
        option, equals, _value = word.partition("=")
        secret = _SECRET.fullmatch(option) is not None
        if hide_next:
            shown.append(_REMOVED)
        elif secret and equals:
            shown.append(f"{option}={_REMOVED}")
        else:
            shown.append(printable(_QUERY.sub(rf"\g<1>{_REMOVED}", _USERINFO.sub(_REMOVED, word))))
        hide_next = secret and not equals and not hide_next
    return shown


def process_start(pid: int) -> str | None:
    """Return the start of a process in clock ticks since boot (with the pid it names one process of a boot)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode("ascii")
    except (OSError, IndexError):
        return None


@functools.cache
def _record_sha256() -> str | None:
    """The installed RECORD lists a digest of every file of imgkit; None where imgkit runs from an unpacked tree.

    importlib.metadata would find the same file, at 15 ms for its import.
    """
    for folder in sys.path:
        try:
            with open(os.path.join(folder, f"imgkit-{__version__}.dist-info", "RECORD"), "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            continue
    return None


def _loginuid() -> int | None:
    try:
        with open("/proc/self/loginuid", encoding="ascii") as file:
            number = int(file.read())
    except (OSError, ValueError):
        return None
    return None if number == _NO_LOGINUID else number
