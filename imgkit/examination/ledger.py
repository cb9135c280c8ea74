"""Ledger: what a custody log says, folded into exhibits, digests, attachments and open acts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgkit.custody.possession import Possession
from imgkit.custody.record import MALFORMED, path_of
from imgkit.errors import CustodyError, UsageError
from imgkit.examination.devices import is_same_device
from imgkit.examination.verdicts import learn_verdict
from imgkit.hashing import Digest
from imgkit.image import Extent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OwnDigest:
    """A digest we computed.

    Attributes:
        of: `media`, `container`, `partition:N`, `segment:N`.
        digest: What came out.
        line: Line of the outcome.
        extent: Bytes of the media that were read; None where the record does not say.
        sector_size: Of the table that gave the partition, or None.
        matched: What was read then matched what somebody else stated of it.
    """

    of: str
    digest: Digest
    line: int
    extent: Extent | None = None
    sector_size: int | None = None
    matched: bool = False

    @property
    def key(self) -> tuple[str, Extent | None, str]:
        """What it is a digest of, and by which algorithm: of a partition its bytes, whose number may change."""
        return self.of, self.extent if self.of.startswith("partition:") else None, self.digest.algorithm


@dataclass(slots=True)
class Exhibit:
    """One evidence item as the log knows it.

    Attributes:
        name: EX1, EX2 ...
        line: Line of the intent that added it.
        paths: Every path (as recorded) a file of it was seen at.
        inodes: Every (device, inode, mtime) it was seen as, as strings: file systems hand inode numbers out again.
        parts: Every path and (device, inode, mtime) of its further files, and of those it builds upon: they are evidence,
            but an image that one of them is may be another exhibit.
        nodes: Every path a block device of it was seen at: for people, /dev/sdb is another disk tomorrow.
        devices: What every block device of it said of itself.
        stated: Digests that somebody stated when it was added, with their line.
        own: Digests we computed, in order.
        checked: (line, verdict) of the last run that verified it, or None.
        checking: (session, worst verdict that stands) of the run that `checked` is of.
        added: Data of the record that added it.
        actor: Who added it.
        refused: The intent that would have added it failed: the name is used up.
    """

    name: str
    line: int
    paths: set[str] = field(default_factory=set)
    inodes: set[tuple[str, str, str]] = field(default_factory=set)
    parts: set[str | tuple[str, str, str]] = field(default_factory=set)
    nodes: set[str] = field(default_factory=set)
    devices: list[Record] = field(default_factory=list)
    stated: list[tuple[str, Digest, int]] = field(default_factory=list)
    own: list[OwnDigest] = field(default_factory=list)
    checked: tuple[int, str] | None = None
    checking: tuple[str | None, str | None] | None = None
    added: Record = field(default_factory=dict)
    actor: Record = field(default_factory=dict)
    refused: bool = False

    def has_own(self, of: str, algorithm: str) -> bool:
        """Whether the log has a digest of ours of this part by this algorithm."""
        return any(item.of == of and item.digest.algorithm == algorithm for item in self.own)

    def first_own(self) -> dict[tuple[str, Extent | None, str], OwnDigest]:
        """The first digest of ours of each kind: a later one may be of a file that was swapped since."""
        return {item.key: item for item in reversed(self.own)}


@dataclass(slots=True)
class AttachmentRecord:
    """An attachment that the log knows and has not seen end.

    Attributes:
        op: Of its intent and outcome.
        line: Line of the intent: the number in the kernel's label.
        exhibit: EX1 ...
        actor: Who attached it.
        data: Of the outcome: device, diskseq, offset, length, backing, segments, proof.
        boot_id: Of the outcome.
    """

    op: str
    line: int
    exhibit: str | None
    actor: Record
    data: Record
    boot_id: str


@dataclass(slots=True)
class ExposureRecord:
    """An exposure in a directory that the log knows and has not seen end.

    Attributes:
        line: Line of the intent.
        exhibit: EX1 ...
        target: The directory.
        process: Number and start of what served it; None where that was not seen, or dead already.
        pid_namespace: In which that number counts, or None.
        boot_id: Of the outcome.
    """

    line: int
    exhibit: str | None
    target: str
    process: tuple[int, int] | None
    pid_namespace: int | None
    boot_id: str


class Ledger:
    """The fold. take() every record in order; ask afterwards."""

    def __init__(self) -> None:
        self.exhibits: dict[str, Exhibit] = {}
        self.attachments: dict[int, AttachmentRecord] = {}
        self.exposures: dict[int, ExposureRecord] = {}
        self.opened: Record = {}
        self.lines = 0
        self.sealed_at: int | None = None
        self.reviews: list[Record] = []
        self.possession = Possession()
        self._intents: dict[str, Record] = {}

    def take(self, record: Record) -> None:
        """Add one record."""
        self.lines = record["seq"]
        kind, phase = record["type"], record["phase"]
        self.possession.see(record)
        if record["seq"] == 1:
            self.opened = record
        if phase == "intent":
            self._intents[record["op"]] = record
            if kind == "evidence.added":
                self._added(record)
        elif phase == "outcome":
            self._outcome(kind, record, self._intents.pop(record["op"], None))
        else:
            self._event(kind, record)

    def _added(self, record: Record) -> None:
        """The intent already takes the name: of two at once, the earlier line wins."""
        name = record.get("exhibit")
        if name is None or name in self.exhibits:
            return
        exhibit = Exhibit(name, record["seq"], added=record["data"], actor=record["actor"])
        self.exhibits[name] = exhibit
        _learn_files(exhibit, record["data"])
        for stated in record["data"].get("stated", ()):
            exhibit.stated.append(("media", Digest.parse(stated["digest"]), record["seq"]))

    def _outcome(self, kind: str, record: Record, intent: Record | None) -> None:
        if intent is None:
            return
        exhibit = self.exhibits.get(record.get("exhibit", ""))
        done = record["result"] == "ok"
        if kind == "evidence.added" and exhibit is not None and not done and exhibit.line == intent["seq"]:
            exhibit.refused = True
        if exhibit is not None and kind in ("evidence.hashed", "evidence.verified"):
            _learn_digests(exhibit, record)
        if exhibit is not None and kind == "evidence.verified":
            learn_verdict(exhibit, record)
        if exhibit is not None and done:
            _learn_files(exhibit, record["data"])
        if kind == "evidence.attached" and done:
            self.attachments[intent["seq"]] = AttachmentRecord(
                record["op"],
                intent["seq"],
                record.get("exhibit"),
                record["actor"],
                record["data"],
                record["time"]["boot_id"],
            )
        elif kind == "evidence.exposed" and done:
            self._exposed(intent, record)
        elif kind in ("evidence.detached", "evidence.unexposed") and done:
            self._ended(record["data"])

    def _exposed(self, intent: Record, told: Record) -> None:
        seen = told["data"].get("seen", told["data"])
        self.exposures[intent["seq"]] = ExposureRecord(
            intent["seq"],
            intent.get("exhibit"),
            path_of(intent["data"], key="target"),
            (int(seen["pid"]), int(seen["started"])) if "pid" in seen else None,
            seen.get("pid_namespace"),
            told["time"]["boot_id"],
        )

    def _ended(self, data: Record) -> None:
        for key in ("attached_line", "exposed_line"):
            self.end(key, data.get(key, -1))

    def end(self, key: str, line: int) -> AttachmentRecord | ExposureRecord | None:
        """Forget what began at a line, and return it; `key` is what records call that line: attached_line, exposed_line."""
        return (self.attachments if key == "attached_line" else self.exposures).pop(line, None)

    def _event(self, kind: str, record: Record) -> None:
        if kind == "evidence.gone":
            self._ended(record["data"])
        elif kind == "op.reconciled":
            self._reconciled(record, self._intents.pop(record["data"].get("op", ""), None))
        elif kind == "case.sealed":
            self.sealed_at = record["seq"]
        elif kind == "case.reopened":
            self.sealed_at = None
        elif kind == "record.reviewed":
            self.reviews.append(record)

    def _reconciled(self, record: Record, intent: Record | None) -> None:
        """A killed attach or expose of which something was seen to be there is one, too: its end is to be told."""
        seen = record["data"].get("seen", {})
        devices = seen.get("devices")
        if intent is not None and intent["type"] == "evidence.exposed" and seen.get("mounted") is True:
            self._exposed(intent, record)
        if intent is None or intent["type"] != "evidence.attached" or not isinstance(devices, list):
            return
        if devices:
            data = {"device": devices[0], "diskseq": 0}  # 0: known by its label alone
            self.attachments[intent["seq"]] = AttachmentRecord(
                intent["op"],
                intent["seq"],
                intent.get("exhibit"),
                intent["actor"],
                data,
                record["time"]["boot_id"],
            )

    def known(self) -> list[Exhibit]:
        """Exhibits that were added, in the order of their lines."""
        return [exhibit for exhibit in self.exhibits.values() if not exhibit.refused]

    def next_name(self) -> str:
        """The first exhibit name that is not used up."""
        numbers = [int(name[2:]) for name in self.exhibits if name[:2] == "EX" and name[2:].isdecimal()]
        return f"EX{max(numbers, default=0) + 1}"

    def find(self, files: Sequence[Mapping[str, Any]], stated: str | None) -> Exhibit | None:
        """Return the exhibit that an image is: by name where stated, else by path or inode of its first file.

        A block device by what it says of itself: its name and its node are another disk's tomorrow. Never by digest: a
        swapped file would find none.

        Raises:
            UsageError: The stated one does not exist, or the image is known to be another; it stands for several and none
                is stated; it is a device that an exhibit is attached as.
        """
        first = files[0]
        self._refuse_attached(first)
        if stated is not None:
            return self._stated(stated, first)
        if "source" in first:
            found = [
                item
                for item in self.known()
                if any(is_same_device(first["source"], one) for one in item.devices)
            ]
        else:
            inode = _inode(first)
            found = [item for item in self.known() if _path_key(first) in item.paths or inode in item.inodes]
        if len(found) > 1:
            # The path says more than an inode: of two names of one file each may be an exhibit.
            by_path = [item for item in found if _path_key(first) in item.paths]
            found = by_path or found
        if len(found) > 1:
            names = ", ".join(item.name for item in found)
            raise UsageError(
                f"{first['path']} stands for several exhibits: {names}", hint="pick one with --exhibit"
            )
        return found[0] if found else None

    def _refuse_attached(self, first: Mapping[str, Any]) -> None:
        """What is attached of an exhibit is no other exhibit, and a part of it is not the whole."""
        at = (first.get("source", {}).get("diskseq", 0), first.get("source", {}).get("boot_id"))
        for item in self.attachments.values() if at[0] else ():
            if (item.data["diskseq"], item.boot_id) == at:
                raise UsageError(
                    f"{first['path']} is {item.exhibit} of this case, attached at line {item.line}",
                    hint="name its image, with -p for a partition",
                )

    def _stated(self, name: str, first: Mapping[str, Any]) -> Exhibit:
        """The exhibit of a name, unless its file is known to be another: an act on that one would be told of this one."""
        exhibit = self.exhibits.get(name)
        if exhibit is None or exhibit.refused:
            names = ", ".join(item.name for item in self.known()) or "none yet"
            raise UsageError(f"this case has no exhibit {name}", hint=f"it has {names}")
        inode = _inode(first)
        others = [item.name for item in self.known() if inode in item.inodes]
        if others and name not in others and _path_key(first) not in exhibit.paths:
            raise UsageError(f"{first['path']} is {others[0]} of this case, and not {name}")
        return exhibit

    def part_of(self, file: Mapping[str, Any]) -> Exhibit | None:
        """The exhibit that a file is any part of, by its path or its inode; of a long list the first file is known here."""
        keys = {_path_key(file), _inode(file)}
        return next((item for item in self.known() if keys & (item.paths | item.inodes | item.parts)), None)


def fold(records: Iterable[Record]) -> Ledger:
    """Return the ledger of a whole log.

    Raises:
        CustodyError: A record does not hold what one of its type holds.
    """
    ledger = Ledger()
    for number, record in enumerate(records, start=1):
        try:
            ledger.take(record)
        except (*MALFORMED, UsageError) as error:
            raise CustodyError(
                f"record {number} of the log is none that imgkit writes ({type(error).__name__}: {error})",
                code="SCHEMA",
                hint="imgkit log verify says what else is wrong",
            ) from error
    return ledger


def _inode(file: Mapping[str, Any]) -> tuple[str, str, str]:
    """A renamed file keeps these three; a new file that got the number of a deleted one does not."""
    return file.get("dev", ""), file.get("ino", ""), file.get("mtime", "")


def _path_key(file: Mapping[str, Any]) -> str:
    return str(file.get("path_b64") or file["path"])


def _learn_files(exhibit: Exhibit, data: Record) -> None:
    first = data.get("first_file")
    if first is None and isinstance(files := data.get("files"), list) and files:
        first = files[0]
    if first is None:
        return
    source = first.get("source")
    if source is not None:
        exhibit.nodes.add(_path_key(first))
        exhibit.devices.append(dict(source))
        return
    exhibit.paths.add(_path_key(first))
    if "ino" in first:
        exhibit.inodes.add(_inode(first))
    files = data.get("files")
    for further in files[1:] if isinstance(files, list) else ():
        exhibit.parts |= {_path_key(further), _inode(further)}


def _learn_digests(exhibit: Exhibit, record: Record) -> None:
    """Digests without read errors of an image that stayed as it was, and that matched or had nothing to match."""
    data = record["data"]
    if record["result"] != "ok" or data.get("verdict") == "mismatch" or data.get("changed"):
        return
    extent = Extent(data["offset"], data["length"]) if {"offset", "length"} <= data.keys() else None
    matched = data.get("verdict") == "match"
    for name, value in data.get("digests", {}).items():
        of, line, sectors = data["of"], record["seq"], data.get("sector_size")
        exhibit.own.append(OwnDigest(of, Digest(name, value), line, extent, sectors, matched))
