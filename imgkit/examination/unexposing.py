"""unexpose: what imgkit exposed in directories taken down, compared with what was recorded, whatever the log says."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgkit import expose
from imgkit.attachment import Backing, files_changed, signals_held
from imgkit.custody.clock import boot_id
from imgkit.custody.reading import read_records
from imgkit.custody.record import path_fields, path_of
from imgkit.errors import CustodyError, ImgkitError
from imgkit.examination.attached import files_of_record
from imgkit.examination.cases import identity_in
from imgkit.examination.exposing import exposure_facts, taken_away
from imgkit.examination.knowledge import KnownLogs, Origin, image_of, image_told
from imgkit.examination.recorder import Recorder, records_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from imgkit.examination.presence import Presence
    from imgkit.expose import ExposureFacts

Record = dict[str, Any]


@dataclass(slots=True)
class TakenAway:
    """What became of one exposure.

    Attributes:
        directory: Where it was to be seen.
        facts: What served it; None where that process was gone already.
        origin: Which log has it.
        changed, touched: Sentences, as of a detach.
        compared: Whether the facts of the time of exposure were there to compare with.
        spooled, unrecorded: Why the case log, or even the spool, does not have the records; or None.
        lines: Lines of that log that tell of this one.
        error: Why it could not be taken down, or None.
    """

    directory: str
    facts: ExposureFacts | None = None
    origin: Origin = field(default_factory=Origin)
    changed: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    compared: bool = False
    spooled: str | None = None
    unrecorded: str | None = None
    lines: list[int] = field(default_factory=list)
    error: ImgkitError | None = None


class KnownExposures:
    """The exposures in directories that the logs of this user tell of, and no record has ended."""

    def __init__(self, logs: KnownLogs) -> None:
        self._logs = logs
        self._open: list[Origin] | None = None

    def at(self, directory: str, facts: ExposureFacts | None) -> Origin:
        """The exposure at a directory, made in this boot by this process; an Origin that knows nothing where none is."""
        if self._open is None:
            self._open = [origin for log in self._logs.uuids() for origin in self._read(log)]
        for origin in reversed(self._open):
            data = origin.data or {}
            if path_of(data, key="target") == directory and _may_be(data, facts):
                return self._logs.with_files(origin)
        return Origin()

    def _read(self, log: str) -> Iterator[Origin]:
        path = self._logs.path_of_log(log)
        if path is None:
            return
        intents: dict[str, Record] = {}
        found: dict[int, Origin] = {}
        case = os.path.basename(os.path.dirname(path))
        try:
            for record in read_records(path, identity=identity_in(os.path.dirname(path))):
                if record["seq"] == 1:
                    case = record["data"].get("number") or case
                if record["time"]["boot_id"] == boot_id():
                    _take(record, intents, found, path, case)
        except CustodyError:
            return  # gone or damaged: it just tells less
        yield from found.values()


def _may_be(data: Record, facts: ExposureFacts | None) -> bool:
    """Whether a record may tell of what serves a directory now; of a process that is dead, or was not recorded, it may."""
    if facts is None or not facts.pid or "pid" not in data:
        return True
    return (data["pid"], data["started"]) == (facts.pid, facts.started)


def _take(record: Record, intents: dict[str, Record], found: dict[int, Origin], path: str, case: str) -> None:
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


def _origin(record: Record, intent: Record, path: str, case: str) -> Origin:
    data = record["data"]
    files = data.get("files")
    return Origin(
        record["log"],
        intent["seq"],
        path,
        case=case,
        actor_id=record["actor"]["id"],
        actor_name=record["actor"]["name"],
        data=data,
        exhibit=record.get("exhibit"),
        image=image_told(data),
        files=tuple(files) if isinstance(files, list) else (),
    )


class Unexposing:
    """Takes exposures in directories down, each recorded in the log that has it."""

    def __init__(self, presence: Presence, *, reason: str | None, notify: Callable[[str], object]) -> None:
        logs = KnownLogs(presence.state)
        self._presence = presence
        self._notify = notify
        self._known = KnownExposures(logs)
        self._recorder = Recorder(logs, presence.session, reason=reason)

    @property
    def records(self) -> Record | list[Record] | None:
        """`records` of the document: what was written, to whichever logs."""
        return self._recorder.records

    def unexpose(self, directories: Sequence[str]) -> list[TakenAway]:
        """Take them down, one after the other; what fails is told in its result."""
        there = {item.directory: item for item in expose.list_exposures() if item.directory is not None}
        done = []
        for name in dict.fromkeys(directories):
            directory = _resolved(name)
            one = TakenAway(directory, there.get(directory))
            try:
                with signals_held():
                    self._one(one)
            except ImgkitError as error:
                one.error = error
            done.append(one)
        self._recorder.end(self._presence, self._notify)
        return done

    def _one(self, one: TakenAway) -> None:
        one.origin = origin = self._known.at(one.directory, one.facts)
        dead = one.facts is None or not one.facts.pid
        recorded = origin.data or {}
        data: Record = path_fields(one.directory, key="target")
        if one.facts is not None and not dead:
            data.update(exposure_facts(one.facts, one.directory))
        if origin.log is not None:
            data["exposed_line"] = origin.line
        with self._recorder.taking_down(
            origin, "evidence.unexposed", data, exhibit=origin.exhibit, lines=one.lines
        ) as act:
            created = tuple(path_of(item) for item in recorded.get("created", ()))
            taken_away(one.directory, created)
            self._compare(one, act.data)
        one.spooled, one.unrecorded = act.spooled, act.unrecorded
        for kind, details in (("evidence.changed", one.changed), ("evidence.touched", one.touched)):
            if details:
                facts = {**data, "details": list(details)}
                missed = self._recorder.event(origin, kind, facts, exhibit=origin.exhibit, lines=one.lines)
                one.spooled = one.spooled or missed

    def _compare(self, one: TakenAway, data: Record) -> None:
        """The files of the image with what they were when it was exposed."""
        if not one.origin.files or one.origin.unlisted is not None:
            return
        changes = files_changed(files_of_record(one.origin.files))
        one.compared = True
        if changes.changed:
            one.changed = changes.details
        elif changes.touched:
            one.touched = changes.details
        data.update(compared=True, details=list(changes.details))


def document_of(item: TakenAway) -> Record:
    """An entry of `exposures` of `imgkit unexpose`."""
    data, facts = item.origin.data or {}, item.facts
    document: Record = {
        **path_fields(item.directory, key="directory"),
        "file": path_of(data, key="file") if "file" in data else None,
        "image": image_served(facts, item.origin),
        "exhibit": item.origin.exhibit,
        "exposed": {"pid": (facts.pid or None) if facts else None, "alive": bool(facts and facts.pid)},
        "unexposed": item.error is None,
        "changed": list(item.changed),
        "touched": list(item.touched),
        "compared": item.compared,
        "not_yet_in_log": item.spooled,
        "recorded_nowhere": item.unrecorded,
        "records": records_of(item.origin.log or "", item.lines) if item.lines else None,
    }
    if item.error is not None:
        document["error"] = {"kind": item.error.kind, "message": item.error.message, "hint": item.error.hint}
    return document


def image_served(facts: ExposureFacts | None, origin: Origin) -> Record | None:
    """`image` of a document; None where neither the process nor a log says what it is."""
    if facts is not None and facts.path:
        backing = Backing(facts.path, facts.dev, facts.ino, facts.size, 0, 0, kind="exposed")
        return image_of(backing, origin) | path_fields(facts.path)
    if not origin.files:
        return None
    return image_of(Backing(path_of(origin.files[0]), 0, 0, 0, 0, 0, kind="exposed"), origin)


def _resolved(name: str) -> str:
    """The name as the mount table has it; its last part may be a mount whose server is dead, and is not asked."""
    path = os.path.abspath(name)
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
