"""What this host's logs know of what the kernel shows: which case an attachment is of, and who made it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from imgkit.attachment import guard_of_files, list_attachments
from imgkit.attachment.extents import tail_notice
from imgkit.attachment.facts import split_exposed_name
from imgkit.custody.clock import boot_id
from imgkit.custody.reading import enclosed_list, read_records
from imgkit.custody.record import MALFORMED, path_fields, path_of
from imgkit.custody.schema import validate
from imgkit.errors import CustodyError
from imgkit.examination.attached import Attached, counted_before, files_of_record, is_told_by
from imgkit.examination.cases import identity_in
from imgkit.examination.evidence import segments_document
from imgkit.image import Extent
from imgkit.mounting import list_mounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imgkit.attachment import Attachment, Backing
    from imgkit.custody.state import StateFolder
    from imgkit.linux.files import Identity
    from imgkit.mounting import Mount

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an attachment comes from, as far as this host knows.

    Attributes:
        log: UUID in the kernel's label, or None (made through the API, without a log).
        line: Of the intent, or None.
        path: Where this user last saw that log, or None.
        lost: What the log says of that line instead, where it could be read and does not tell of this attachment.
        case: Number of the case, or the name of its folder, or None.
        actor_id, actor_name: Who attached it, or None.
        data: Of the outcome of the attach, or None where the log cannot be read or has none.
        image: What the log says of the image: format and size, where it says them.
        exhibit, partition, files, mounts: From the log.
        unlisted: Why `files` is not known, where the log names it by digest alone; else None.
    """

    log: str | None = None
    line: int | None = None
    path: str | None = None
    lost: str | None = None
    case: str | None = None
    actor_id: str | None = None
    actor_name: str | None = None
    data: Record | None = None
    exhibit: str | None = None
    partition: int | None = None
    image: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Record, ...] = ()
    mounts: tuple[Record, ...] = ()
    unlisted: str | None = None

    @property
    def who(self) -> str:
        """Name and id of who attached it, in words where nobody is known."""
        if self.actor_name is not None:
            return f"{self.actor_name} <{self.actor_id}>"
        if self.path is None:
            return "somebody whose log this host does not know"
        return f"a run for log {self.log} at {self.path}, which {self.lost or 'cannot be read'}"

    @property
    def line_facts(self) -> Record:
        """`attached_line` of a record; nothing where that line of the log is not, or not any more, this attach."""
        return {} if self.lost is not None else {"attached_line": self.line or 0}

    def was_at(self, path: str) -> bool:
        """Whether a file of the image lay at that path when it was attached, or is there now under another name."""
        if os.path.abspath(path) in (path_of(item) for item in self.files):
            return True
        if not self.is_exposed:
            return False  # the kernel knows its file
        try:
            found = os.stat(path)
        except OSError:
            return False
        place = (str(found.st_dev), str(found.st_ino))
        return any((item.get("dev"), item.get("ino")) == place for item in self.files)

    @property
    def is_exposed(self) -> bool:
        """Whether a process served the image."""
        backing = (self.data or {}).get("backing", {})
        return bool(backing.get("kind") == "exposed")


@dataclass(frozen=True, slots=True)
class _Told:
    """What a log tells of the attach that began at one of its lines, and when it ran: the intent, then the outcome."""

    origin: Origin
    data: Record
    boot: str


class KnownLogs:
    """The logs that this host remembers, read as needed."""

    def __init__(self, state: StateFolder) -> None:
        self._states = [state]
        self._told: dict[tuple[str, int], _Told] = {}
        self._created: dict[tuple[str, str], list[str]] = {}
        self._runs: dict[tuple[str, int], list[str]] = {}
        self._lists: dict[str, tuple[Record, ...] | str] = {}  # of files, by name of the enclosure
        self._lines: dict[
            str, int
        ] = {}  # of each log that was looked for; 0: it could not be read to its end

    def attached_now(self) -> Iterator[Attached]:
        """What imgkit has attached, from the kernel, with what the logs add to it.

        Raises:
            NotPermitted: Bound loop devices cannot be looked into.
        """
        attachments = list_attachments()
        mounts = {mounted.source: mounted for mounted in list_mounts(attachments)}
        for attachment in attachments:
            origin = self.origin(attachment)
            yield Attached(
                _compared(attachment, origin),
                image_of(attachment.backing, origin),
                origin.exhibit,
                origin.partition,
                filesystem_of(origin),
                as_recorded(mounts.get(attachment.device), origin),
                counted_before(origin.data) if origin.data is not None else None,
            )

    def origin(self, attachment: Attachment) -> Origin:
        """What is known of where an attachment comes from: the label names a line, and that line must tell of it."""
        log, line = attachment.log, attachment.seq
        if log is None:
            return Origin()
        if log not in self._lines:
            self._lines[log] = self._read_log(log)
        if line is None:
            return self._origin_by_device(log, attachment)
        told = self._told.get((log, line))
        if told is not None and is_told_by(attachment, told.data, told.boot):
            return self._listed(told)
        lost = None
        if self._lines[log]:
            is_there = line <= self._lines[log]
            lost = f"tells of something else at line {line}" if is_there else f"no longer has line {line}"
        return Origin(log, line, self.path_of_log(log), lost)

    def origin_of_exposure(self, name: str) -> Origin:
        """What is known of the attach that a served file is called after."""
        found = split_exposed_name(f"/{name}")
        if found is None or found[0] is None:
            return Origin()
        log, line = found[0], int(name.rpartition("-")[2])
        if log not in self._lines:
            self._lines[log] = self._read_log(log)
        told = self._told.get((log, line))
        return told.origin if told is not None else Origin(log, line, self.path_of_log(log))

    def _origin_by_device(self, log: str, attachment: Attachment) -> Origin:
        """Of a device whose label the kernel cannot tell, since the process below it is dead: by device and diskseq."""
        for (uuid, _), told in reversed(self._told.items()):
            there = (told.data.get("device"), told.data.get("diskseq"))
            if uuid != log or there != (attachment.device, attachment.diskseq or 0):
                continue
            if is_told_by(attachment, told.data, told.boot):
                return self._listed(told)
        return Origin(log, path=self.path_of_log(log), lost="tells of no such device")

    def _listed(self, told: _Told) -> Origin:
        return self.with_files(told.origin, told.data.get("files"))

    def with_files(self, origin: Origin, reference: object = None) -> Origin:
        """With the files that the record names by digest; `reference` is how, where not in the outcome."""
        reference = reference or (origin.data or {}).get("files")
        if not isinstance(reference, dict) or origin.path is None:
            return origin
        name = str(reference.get("enclosure"))
        if name not in self._lists:
            identity = self.rights_to_read(origin.log or "")
            try:
                self._lists[name] = tuple(enclosed_list(origin.path, reference, identity=identity))
            except CustodyError as error:
                self._lists[name] = error.message
        found = self._lists[name]
        if isinstance(found, str):
            return replace(origin, unlisted=found)
        return replace(origin, files=found)

    def recorded_now(self) -> Iterator[Origin]:
        """Every attach of this boot that a log of this user tells of, whether the device is still there or not."""
        for log in self.uuids():
            if log not in self._lines:
                self._lines[log] = self._read_log(log)
        for told in self._told.values():
            if told.origin.data is not None and told.boot == boot_id():
                yield self._listed(told)

    def created_for(self, origin: Origin, target: str) -> tuple[str, ...]:
        """The directories that the run which mounted it made for a mount point, outermost first.

        Of several mounts below one DIR the first made DIR; whichever comes down last shall remove it.
        """
        runs = self._runs.get((origin.log or "", origin.line or 0), ())
        if origin.lost is not None:
            return ()
        made = {path for run in runs for path in self._created[(origin.log or "", run)]}
        return tuple(sorted(path for path in made if f"{target}/".startswith(f"{path}/")))

    def uuids(self) -> Sequence[str]:
        """The logs that this host remembers.

        Raises:
            CustodyError: A memory is there and cannot be read.
        """
        return list(dict.fromkeys(log for state in self._states for log in state.known_logs()))

    def ask_too(self, state: StateFolder) -> None:
        """Look into another user's memory, too, after one's own; it says nothing where it cannot be read."""
        if any(one.path == state.path for one in self._states):
            return
        with contextlib.suppress(CustodyError):
            state.known_logs()
            self._states.append(state)

    def rights_to_read(self, log: str) -> Identity | None:
        """With whose rights root reads a log: its folder's owner's; one that another user's memory names with that user's."""
        for number, state in enumerate(self._states):
            if (path := _last_path(state, log)) is not None:
                return state.identity if number else identity_in(os.path.dirname(path))
        return None

    def path_of_log(self, log: str) -> str | None:
        """Where a log was last seen on this host, or None."""
        return next((path for state in self._states if (path := _last_path(state, log)) is not None), None)

    def _read_log(self, log: str) -> int:
        """Collect the attach and mount records of one log and count its lines.

        0 where it is gone or damaged: then it just tells less.
        """
        path = self.path_of_log(log)
        if path is None:
            return 0
        case = os.path.basename(os.path.dirname(path))
        intents: dict[str, Record] = {}
        lines = 0
        try:
            for record in read_records(path, identity=identity_in(os.path.dirname(path))):
                if record["log"] != log:
                    return 0  # another log lies at that path now
                lines = record["seq"]
                if lines == 1:
                    case = record["data"].get("number") or case
                if record["type"] == "evidence.attached" and not validate(record):
                    self._take_attach(record, intents, path, case)
                elif record["type"] == "evidence.mounted" and not validate(record):
                    self._take_mount(record)
        except (CustodyError, *MALFORMED):  # taking down waits for no log, one that anybody wrote to neither
            return 0
        return lines

    def _take_attach(self, record: Record, intents: dict[str, Record], path: str, case: str) -> None:
        if record["phase"] == "intent":
            intents[record["op"]] = record
        intent = intents.get(record["op"])
        if intent is None:
            return
        done = record.get("result") == "ok"
        origin = Origin(
            record["log"],
            intent["seq"],
            path,
            case=case,
            actor_id=record["actor"]["id"],
            actor_name=record["actor"]["name"],
            data=record["data"] if done else None,
            exhibit=record.get("exhibit"),
            partition=intent["data"].get("partition"),
            image=image_told(intent["data"]),
            files=tuple(item for item in intent["data"].get("files", ()) if isinstance(item, dict)),
        )
        said = record if done else intent
        self._told[(record["log"], intent["seq"])] = _Told(origin, said["data"], said["time"]["boot_id"])

    def _take_mount(self, record: Record) -> None:
        key = (record["log"], record["data"].get("attached_line", -1))
        told = self._told.get(key)
        if told is not None and record.get("result") == "ok":
            origin = replace(told.origin, mounts=(*told.origin.mounts, record["data"]))
            self._told[key] = replace(told, origin=origin)
            created = record["data"].get("created")
            if isinstance(created, list):
                of_run = self._created.setdefault((record["log"], record["session"]), [])
                of_run += [path_of(item) for item in created]
                self._runs.setdefault(key, []).append(record["session"])


def _last_path(state: StateFolder, log: str) -> str | None:
    try:
        return state.last_path(log)
    except CustodyError:
        return None  # a damaged memory keeps nobody from taking a device down


def _compared(attachment: Attachment, origin: Origin) -> Attachment:
    """With the extent that was asked for; and say so where the kernel now shows something else than was recorded.

    LOOP_CHANGE_FD swaps the file below.
    """
    then, proof = origin.data, attachment.proof
    notices = list(attachment.notices)
    if then is not None:
        extent = Extent(proof.offset, then["length"])
        attachment = replace(attachment, extent=extent, clipped_tail=then["clipped_tail"])
        was_file = (then["backing"]["dev"], then["backing"]["ino"])
        is_file = (str(proof.device), str(proof.inode)) if proof.inode is not None else was_file
        pairs = [("inode", was_file, is_file), ("diskseq", then["diskseq"], proof.diskseq or 0)]
        notices += [
            f"NOT WHAT WAS ATTACHED: {name} was {was} and is {now}" for name, was, now in pairs if was != now
        ]
    notices += tail_notice(attachment.clipped_tail, attachment.block_size)
    guard = attachment.guard
    if attachment.exposed is not None and guard == "lease" and origin.files:
        guard = guard_of_files([(item.dev, item.ino) for item in files_of_record(origin.files)])
    return replace(attachment, guard=guard, notices=tuple(notices))


def as_recorded(mounted: Mount | None, origin: Origin) -> Mount | None:
    """A mount with what was found out when it was made: mountinfo alone cannot tell a dirty journal from a doubtful one."""
    for data in origin.mounts:
        if mounted is None or path_of(data, key="target") != mounted.target:
            continue
        if data.get("options") == list(mounted.options):
            notices = tuple(data.get("notices", ()))
            mounted = replace(mounted, view=data["view"], journal=data["journal"], notices=notices)
    return mounted


def filesystem_of(origin: Origin) -> Record | None:
    """`filesystem` of a document, as it was identified at attach."""
    found = (origin.data or {}).get("filesystem")
    if not isinstance(found, dict):
        return None
    return {"label": None, "uuid": None} | found


_FORMATS = {"block": "block-device", "file": "raw", "exposed": None}  # where the log does not say it


def image_told(data: Record) -> Record:
    """What the record of an attach or exposure says of the image as a whole."""
    return {key: data[key] for key in ("format", "size", "sector_size") if key in data}


def image_of(backing: Backing, origin: Origin) -> Record:
    """`image` of a document, from what the log says, else from what is known of the file below."""
    files = origin.files
    segments: list[Record] = [
        {key: item[key] for key in ("path", "path_b64", "role") if key in item} | {"size": item.get("bytes")}
        for item in files
    ]
    named = files[0] if files else path_fields(backing.path)
    if origin.is_exposed and origin.data is not None:
        named = origin.data["backing"]  # any of its files may be the one that was opened
    facts: Record = {key: named[key] for key in ("path", "path_b64") if key in named}
    return {
        **facts,
        "format": _FORMATS[backing.kind],
        "size": backing.size,
        "sector_size": None,
        **origin.image,
        **segments_document(segments or [{**path_fields(backing.path), "size": backing.size}]),
    }


def log_uuid(path: str) -> str:
    """Return the uuid of the log at a path, from its first line.

    Raises:
        CustodyError: It cannot be read, or its first line is none of ours.
    """
    for record in read_records(path, identity=identity_in(os.path.dirname(path))):
        return str(record["log"])
    raise CustodyError(f"{path} is empty: no custody log", code="BAD_LINE")
