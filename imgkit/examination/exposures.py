"""The exposures in directories that logs tell of: which case has one, and what its image was when it was exposed."""

from __future__ import annotations

import contextlib
import os
import shlex
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from imgkit.attachment import Backing
from imgkit.custody.clock import boot_id
from imgkit.custody.reading import read_opening, read_records
from imgkit.custody.record import MALFORMED, path_fields, path_of
from imgkit.custody.state import StateFolder
from imgkit.errors import CustodyError, HostError, MountError, NotPermitted
from imgkit.examination.attached import files_of_record
from imgkit.examination.examiner import state_folder, user_of
from imgkit.examination.knowledge import Origin, image_of, image_told
from imgkit.expose import list_exposures
from imgkit.expose.kernel_mount import FILESYSTEM, mounted_by
from imgkit.linux.files import acting_as
from imgkit.linux.mount import read_mountinfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.examination.examiner import User
    from imgkit.examination.knowledge import KnownLogs
    from imgkit.expose import ExposureFacts

Record = dict[str, Any]
_Told = tuple[int, Origin]  # microseconds since boot


class KnownExposures:
    """The exposures in directories that the logs of this user tell of, and no unexpose has ended.

    Root, whose logs do not tell of one, asks those of the user who exposed it.
    """

    def __init__(self, logs: KnownLogs) -> None:
        self._logs = logs
        self._open: dict[str, list[_Told]] = {}

    def at(self, directory: str, facts: ExposureFacts | None) -> Origin:
        """The exposure at a directory, made in this boot by this process; an Origin that knows nothing where none is."""
        found = self._told(directory, facts)
        if found is None and facts is not None and (owner := owner_of(directory)) is not None:
            self._ask_memory_of(owner)
            found = self._told(directory, facts)
        return Origin() if found is None else self._logs.with_files(found)

    def _ask_memory_of(self, owner: User) -> None:
        with contextlib.suppress(HostError):  # they have no home
            self._logs.ask_too(StateFolder(state_folder(owner, {}), identity=owner.identity))

    def _told(self, directory: str, facts: ExposureFacts | None) -> Origin | None:
        for log in self._logs.uuids():
            if log not in self._open:
                self._open[log] = list(self._read(log))
        told = [item for of_log in self._open.values() for item in of_log]
        told = [item for item in told if _is_told_by(item[1].data or {}, directory, facts)]
        return max(told, key=itemgetter(0))[1] if told else None

    def _read(self, log: str) -> Iterator[_Told]:
        path, identity = self._logs.path_of_log(log), self._logs.rights_to_read(log)
        if path is None:
            return
        intents: dict[str, Record] = {}
        found: dict[int, _Told] = {}
        case = os.path.basename(os.path.dirname(path))
        try:
            with acting_as(identity):
                read_opening(path)  # another user may say anything where a log lies
            for record in read_records(path, identity=identity):
                if record["seq"] == 1:
                    case = record["data"].get("number") or case
                if record["time"]["boot_id"] == boot_id():
                    _take(record, intents, found, path, case)
        except (CustodyError, *MALFORMED):
            return  # gone or damaged: it just tells less
        yield from found.values()


def exposed_at(name: str) -> str | None:
    """The directory of that name where an image is exposed, or None; it is not asked itself: its process may be dead."""
    directory = resolved(name)
    return directory if any(item.directory == directory for item in list_exposures()) else None


def resolved(name: str) -> str:
    """A directory as the mount table has it; its last part may be a mount whose process is dead, and is not asked."""
    path = os.path.abspath(name)
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


@contextlib.contextmanager
def exposure_named_in_hint(directory: str) -> Iterator[None]:
    """A block that puts something on a directory: where an image is exposed at it, the hint has the way out."""
    try:
        yield
    except (MountError, NotPermitted) as error:
        there = exposed_at(directory) or exposed_at(os.path.dirname(os.path.abspath(directory)))
        if there is None:
            raise
        hint = f"an image is exposed there; to take that down: imgkit unexpose {shlex.quote(there)}"
        raise type(error)(error.message, hint=hint) from error


def owner_of(directory: str) -> User | None:
    """The ordinary user for whom an exposure at a directory was mounted, as the kernel says; for root alone."""
    if os.geteuid() != 0:
        return None
    found = [
        mount for mount in read_mountinfo() if mount.target == directory and mount.filesystem == FILESYSTEM
    ]
    uid = mounted_by(found[-1]) if found else 0
    try:
        return user_of(uid) if uid else None
    except KeyError:
        return None


def _is_told_by(data: Record, directory: str, facts: ExposureFacts | None) -> bool:
    """By its process, wherever its directory was moved to; of a process that is dead or was not recorded by the place."""
    if facts is not None and facts.pid and "pid" in data:
        return (data["pid"], data.get("started")) == (facts.pid, facts.started)
    return path_of(data, key="target") == directory


def _take(record: Record, intents: dict[str, Record], found: dict[int, _Told], path: str, case: str) -> None:
    """An exposure begins with its intent: a run that was killed may have left it without an outcome."""
    kind, done = record["type"], record.get("result") == "ok"
    if kind == "evidence.exposed" and record["phase"] == "intent":
        intents[record["op"]] = record
        found[record["seq"]] = _origin(record, record, path, case)
    elif kind == "evidence.exposed" and record["op"] in intents:
        intent = intents[record["op"]]
        if done:
            found[intent["seq"]] = _origin(record, intent, path, case)
        else:
            found.pop(intent["seq"], None)
    elif kind == "evidence.unexposed" and done:
        found.pop(record["data"].get("exposed_line", -1), None)


def _origin(record: Record, intent: Record, path: str, case: str) -> _Told:
    """When it was told, and where from; raises one of MALFORMED where the record does not hold what one of it holds."""
    data = record["data"]
    for fields, key in ((data, "target"), *((item, "path") for item in data.get("created", ()))):
        path_of(fields, key=key)
    files = data["files"] if isinstance(data.get("files"), list) else []
    files_of_record(files)
    return record["time"]["boot_us"], Origin(
        record["log"],
        intent["seq"],
        path,
        case=case,
        actor_id=record["actor"]["id"],
        actor_name=record["actor"]["name"],
        data=data,
        exhibit=record.get("exhibit"),
        image=image_told(data),
        files=tuple(files),
    )


def image_served(facts: ExposureFacts | None, origin: Origin) -> Record | None:
    """`image` of a document; None where neither the process nor a log says what it is."""
    if facts is not None and facts.path:
        backing = Backing(facts.path, facts.dev, facts.ino, facts.size, 0, 0, kind="exposed")
        return image_of(backing, origin) | path_fields(facts.path)
    if not origin.files:
        return None
    return image_of(Backing(path_of(origin.files[0]), 0, 0, 0, 0, 0, kind="exposed"), origin)
