"""What this host's logs know of what the kernel shows: which case an attachment is of, and who made it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imgkit.attachment import list_attachments
from imgkit.custody.reading import read_records
from imgkit.custody.record import MALFORMED, path_fields, path_of
from imgkit.errors import CustodyError
from imgkit.examination.attached import Attached, counted_before
from imgkit.examination.cases import identity_in
from imgkit.mounting import list_mounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.attachment import Attachment
    from imgkit.custody.state import StateFolder

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an attachment comes from, as far as this host knows.

    Attributes:
        log: UUID in the kernel's label, or None (made through the API, without a log).
        line: Of the intent, or None.
        path: Where that log was last seen, or None.
        case: Number of the case, or the name of its folder, or None.
        actor_id, actor_name: Who attached it, or None.
        data: Of the outcome of the attach, or None where the log cannot be read or has none.
        exhibit, partition, files, mounts: From the log.
    """

    log: str | None = None
    line: int | None = None
    path: str | None = None
    case: str | None = None
    actor_id: str | None = None
    actor_name: str | None = None
    data: Record | None = None
    exhibit: str | None = None
    partition: int | None = None
    files: tuple[Record, ...] = ()
    mounts: tuple[Record, ...] = ()

    @property
    def who(self) -> str:
        """Name and id of who attached it, in words where nobody is known."""
        if self.actor_name is None:
            return "somebody whose log this host does not know"
        return f"{self.actor_name} <{self.actor_id}>"

    def was_at(self, path: str) -> bool:
        """Whether a file of the image lay at that path when it was attached."""
        return os.path.abspath(path) in (path_of(item) for item in self.files)


class KnownLogs:
    """The logs that this host remembers, read as needed."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._origins: dict[tuple[str, int], Origin] = {}
        self._created: dict[tuple[str, str], list[str]] = {}
        self._runs: dict[tuple[str, int], list[str]] = {}
        self._read: set[str] = set()

    def attached_now(self) -> Iterator[Attached]:
        """What imgkit has attached, from the kernel, with what the logs add to it.

        Raises:
            NotPermitted: Bound loop devices cannot be looked into.
        """
        attachments = list_attachments()
        mounts = {mounted.source: mounted for mounted in list_mounts(attachments)}
        for attachment in attachments:
            origin = self.origin(attachment)
            mounted = mounts.get(attachment.device)
            filesystem = next((item.get("filesystem") for item in origin.mounts), None)
            yield Attached(
                _compared(attachment, origin),
                _image_of(attachment, origin),
                origin.exhibit,
                origin.partition,
                {"type": filesystem, "label": None, "uuid": None} if mounted and filesystem else None,
                mounted,
                counted_before(origin.data) if origin.data is not None else None,
            )

    def origin(self, attachment: Attachment) -> Origin:
        """What is known of where an attachment comes from."""
        if attachment.log is None or attachment.seq is None:
            return Origin()
        if attachment.log not in self._read:
            self._read.add(attachment.log)
            self._read_log(attachment.log)
        return self._origins.get((attachment.log, attachment.seq), Origin(attachment.log, attachment.seq))

    def created_for(self, origin: Origin, target: str) -> tuple[str, ...]:
        """The directories that the run which mounted it made for a mount point, outermost first.

        Of several mounts below one DIR the first made DIR; whichever comes down last shall remove it.
        """
        runs = self._runs.get((origin.log or "", origin.line or 0), ())
        made = {path for run in runs for path in self._created[(origin.log or "", run)]}
        return tuple(sorted(path for path in made if f"{target}/".startswith(f"{path}/")))

    def path_of_log(self, log: str) -> str | None:
        """Where a log was last seen on this host, or None."""
        try:
            return self._state.last_path(log)
        except CustodyError:
            return None  # a damaged memory keeps nobody from taking a device down

    def _read_log(self, log: str) -> None:
        """Collect the attach and mount records of one log; a log that is gone or damaged just tells less."""
        path = self.path_of_log(log)
        if path is None:
            return
        case = os.path.basename(os.path.dirname(path))
        intents: dict[str, Record] = {}
        try:
            for record in read_records(path, identity=identity_in(os.path.dirname(path))):
                if record["log"] != log:
                    return  # another log lies at that path now
                if record["seq"] == 1:
                    case = record["data"].get("number") or case
                if record["type"] == "evidence.attached":
                    self._take_attach(record, intents, path, case)
                elif record["type"] == "evidence.mounted" and record["phase"] == "outcome":
                    self._take_mount(record)
        except (CustodyError, *MALFORMED):
            return

    def _take_attach(self, record: Record, intents: dict[str, Record], path: str, case: str) -> None:
        if record["phase"] == "intent":
            intents[record["op"]] = record
        intent = intents.get(record["op"])
        if intent is None:
            return
        self._origins[(record["log"], intent["seq"])] = Origin(
            record["log"],
            intent["seq"],
            path,
            case,
            record["actor"]["id"],
            record["actor"]["name"],
            record["data"] if record.get("result") == "ok" else None,
            record.get("exhibit"),
            intent["data"].get("partition"),
            tuple(item for item in intent["data"].get("files", ()) if isinstance(item, dict)),
        )

    def _take_mount(self, record: Record) -> None:
        key = (record["log"], record["data"].get("attached_line", -1))
        if key in self._origins and record["result"] == "ok":
            origin = self._origins[key]
            self._origins[key] = replace(origin, mounts=(*origin.mounts, record["data"]))
            created = record["data"].get("created")
            if isinstance(created, list):
                of_run = self._created.setdefault((record["log"], record["session"]), [])
                of_run += [path_of(item) for item in created]
                self._runs.setdefault(key, []).append(record["session"])


def _compared(attachment: Attachment, origin: Origin) -> Attachment:
    """Say so where the kernel now shows something else than was recorded (LOOP_CHANGE_FD swaps the file below)."""
    if origin.data is None:
        return attachment
    then, backing, proof = origin.data, origin.data["backing"], attachment.proof
    pairs = [
        ("inode", (backing["dev"], backing["ino"]), (str(proof.device), str(proof.inode))),
        ("diskseq", then["diskseq"], proof.diskseq or 0),
        ("offset", then["offset"], proof.offset),
    ]
    notices = tuple(
        f"NOT WHAT WAS ATTACHED: {name} was {was} and is {now}" for name, was, now in pairs if was != now
    )
    return replace(attachment, notices=(*attachment.notices, *notices)) if notices else attachment


def _image_of(attachment: Attachment, origin: Origin) -> Record:
    """`image` of a document, from what the log says, else from what the kernel says of the file below."""
    files = origin.files
    backing = attachment.backing
    segments: list[Record] = [
        {key: item[key] for key in ("path", "path_b64") if key in item} | {"size": item.get("bytes")}
        for item in files
    ]
    facts: Record = (
        {key: files[0][key] for key in ("path", "path_b64") if key in files[0]}
        if files
        else path_fields(backing.path)
    )
    return {
        **facts,
        "format": "block-device" if backing.kind == "block" else "raw",
        "size": backing.size,
        "sector_size": None,
        "segments": segments or [{**path_fields(backing.path), "size": backing.size}],
    }


def log_uuid(path: str) -> str:
    """Return the uuid of the log at a path, from its first line.

    Raises:
        CustodyError: It cannot be read, or its first line is none of ours.
    """
    for record in read_records(path, identity=identity_in(os.path.dirname(path))):
        return str(record["log"])
    raise CustodyError(f"{path} is empty: no custody log", code="BAD_LINE")
