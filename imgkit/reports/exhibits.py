"""What a report knows of one evidence item: files, digests, comparisons, tables, attachments, and whose hands it was in."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgkit.reports.acts import Act, Correction
    from imgkit.reports.presences import Attachment


@dataclass(frozen=True, slots=True)
class File:
    """A file of an exhibit as it was when the exhibit was added.

    Attributes:
        path: For reading.
        path_b64: The bytes of the path, where they are no printable UTF-8.
        bytes: Its size, or None where it was missing.
        role: `segment`, `descriptor`, `parent`.
        device: What a block device said of itself, in words; empty of a file.
    """

    path: str
    path_b64: str
    bytes: int | None
    role: str
    device: str


@dataclass(frozen=True, slots=True)
class Acquisition:
    """What a container says of its acquisition: its own words, which nobody here has checked.

    Attributes:
        line: Line that says so.
        facts: (name, value) in words, as found; then what is in doubt, was cut, or was left out.
    """

    line: int
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StatedDigest:
    """A digest that somebody else states of an exhibit's media.

    Attributes:
        algorithm: `sha256` ...
        value: Hex.
        source: `stated when it was added`, or `stored in the container`.
        line: The line that says so.
    """

    algorithm: str
    value: str
    source: str
    line: int


@dataclass(frozen=True, slots=True)
class OwnDigest:
    """A digest that the tool computed.

    Attributes:
        of: `media`, `container`, `partition:1`, `segment:1`.
        offset: First byte that was read, or None where the record does not say.
        length: Bytes that were read, or None.
        algorithm: `sha256` ...
        value: Hex.
        line: Line of the outcome.
        act: The act; its session has the tool and its version.
        sound: Whether it is a digest of one state: no read errors, nothing changed during the read.
    """

    of: str
    offset: int | None
    length: int | None
    algorithm: str
    value: str
    line: int
    act: Act = field(repr=False)
    sound: bool = True


@dataclass(frozen=True, slots=True)
class Comparison:
    """A digest that was computed held against one that was stated.

    Attributes:
        of: `media`, `partition:1` ...
        algorithm: `sha256` ...
        expected: What was stated.
        actual: What came out.
        matches: Whether they are equal.
        source: Who stated it, in words: `container laptop.E01`, `this log, line 2 (stated by others)`.
        line: Line of the outcome.
        act: The act.
        protection: What kept that statement from being changed: `loose` (nothing), `log`, `signed`.
    """

    of: str
    algorithm: str
    expected: str
    actual: str
    matches: bool
    source: str
    line: int
    act: Act = field(repr=False)
    protection: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification of a part came to: `match`, `mismatch`, `unreadable`, `no-reference`, `unchanged`.

    Attributes:
        of: `media`, `partition:1` ...
        verdict: Of this part.
        overall: Of all parts of the run, or empty where this part is not its last.
        line: Line of the outcome.
        act: The act.
    """

    of: str
    verdict: str
    overall: str
    line: int
    act: Act = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReadError:
    """Bytes that could not be read.

    Attributes:
        exhibit: EX1 ...
        of: `media` ...
        offset: First byte.
        length: Bytes.
        reason: In words.
        line: Line of the outcome.
    """

    exhibit: str
    of: str
    offset: int
    length: int
    reason: str
    line: int


@dataclass(frozen=True, slots=True)
class UnreadRange:
    """Bytes that could not be read, whenever somebody tried.

    Attributes:
        of: `media` ...
        offset: First byte.
        length: Bytes.
        reason: In words.
        lines: Lines of the outcomes that say so, in order.
    """

    of: str
    offset: int
    length: int
    reason: str
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition as the table states it; offset and length in bytes of the media."""

    number: int
    offset: int
    length: int
    type: str
    type_name: str
    name: str
    filesystem: str
    label: str
    uuid: str


@dataclass(frozen=True, slots=True)
class TableFinding:
    """What was noticed in a partition table: code, severity (`error`, `warning`, `info`), a sentence."""

    code: str
    severity: str
    message: str


@dataclass(frozen=True, slots=True)
class Table:
    """How the media was found to be divided.

    Attributes:
        line: Line of the outcome.
        act: The act.
        scheme: `gpt`, `mbr`, `none` ...
        sector_size: Bytes.
        size: Bytes of the media, or None where the log does not say.
        partitions: In the order of the table.
        containers: (offset, length) of extended partitions and the like.
        gaps: (offset, length) that nothing describes.
        findings: What was noticed.
        filesystem: What the media itself holds, where there is no table: `ext4 DATA`.
        readers: Name and version of what read it.
        withheld: Names of the lists that lie in an enclosure that cannot be shown.
    """

    line: int
    act: Act = field(repr=False)
    scheme: str
    sector_size: int | None
    size: int | None
    partitions: tuple[Partition, ...]
    containers: tuple[tuple[int, int], ...]
    gaps: tuple[tuple[int, int], ...]
    findings: tuple[TableFinding, ...]
    filesystem: str
    readers: tuple[tuple[str, str], ...]
    withheld: tuple[str, ...]

    @property
    def layout(self) -> tuple[object, ...]:
        """What the table says of the media, whoever looked for file systems in it."""
        places = [(one.number, one.offset, one.length, one.type) for one in self.partitions]
        return (self.scheme, self.sector_size, *places, self.containers, self.gaps, self.withheld)


@dataclass(frozen=True, slots=True)
class Enclosed:
    """A note, or a file that was enclosed.

    Attributes:
        line: Line of the event.
        exhibit: EX1, or empty.
        kind: `note` or `enclosure`.
        sha256: Of the file.
        name: In enclosures/.
        bytes: Its size, or None.
        text: Text of a note, where the enclosure is there and is what the record names.
        withheld: Whether a note's text could not be read.
        description: As stated.
        origin: Path it was copied from, or empty.
        act: The event.
    """

    line: int
    exhibit: str
    kind: str
    sha256: str
    name: str
    bytes: int | None
    text: str
    withheld: bool
    description: str
    origin: str
    act: Act = field(repr=False)


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One evidence item.

    Attributes:
        name: EX1 ...
        line: Line of the intent that added it.
        added: The act.
        description: As stated.
        format: `ewf`, `raw` ...
        size: Bytes of the media, or None.
        files: As they were when it was added.
        files_count: How many; more than `files` has where the list lies in an enclosure that cannot be shown.
        copy_of: The exhibit it is a working copy of, or empty.
        source: What it was taken from, as people state it: make, model, serial ...
        acquired: By whom, when, with what, as stated.
        acquisition: What its container says of its acquisition, or None.
        stated: Digests that somebody else states of it.
        own: Digests of ours, in order.
        comparisons: In order.
        verdicts: In order.
        tables: How the media was found to be divided, each time somebody looked; the last is the newest.
        read_errors: In order; more were there where `unlisted` is not empty.
        unlisted: (line, how many) read errors whose list lies in an enclosure that cannot be shown.
        attachments: In order.
        changes: `evidence.changed` and `evidence.touched`.
        possession: `custody.*` events of it, in order.
        notes: Notes and enclosures about it.
        corrections: Of the lines that added it.
    """

    name: str
    line: int
    added: Act = field(repr=False)
    description: str
    format: str
    size: int | None
    files: tuple[File, ...]
    files_count: int
    copy_of: str
    source: tuple[tuple[str, str], ...]
    acquired: tuple[tuple[str, str], ...]
    acquisition: Acquisition | None
    stated: tuple[StatedDigest, ...]
    own: tuple[OwnDigest, ...]
    comparisons: tuple[Comparison, ...]
    verdicts: tuple[Verdict, ...]
    tables: tuple[Table, ...]
    read_errors: tuple[ReadError, ...]
    unlisted: tuple[tuple[int, int], ...]
    attachments: tuple[Attachment, ...]
    changes: tuple[Act, ...]
    possession: tuple[Act, ...]
    notes: tuple[Enclosed, ...]
    corrections: tuple[Correction, ...]

    @property
    def table(self) -> Table | None:
        """The last for which the file systems were looked for too, else the last."""
        looked = tuple(table for table in self.tables if table.act.data.get("what") == "partitions")
        found = looked or self.tables
        return found[-1] if found else None

    @property
    def verdict(self) -> Verdict | None:
        """The last verdict that a run came to as a whole, else the last of the media."""
        overall = [item for item in self.verdicts if item.overall or item.of == "media"]
        return overall[-1] if overall else None

    @property
    def faults(self) -> tuple[Verdict, ...]:
        """Where it is not what was stated, or cannot be read: the last verdict as a whole, and what parts came to later."""
        whole = self.verdict
        later = [item for item in self.verdicts if whole is None or item.line >= whole.line]
        last = {item.of: item for item in later}
        return tuple(
            item for item in last.values() if (item.overall or item.verdict) in ("mismatch", "unreadable")
        )

    @property
    def otherwise(self) -> tuple[Table, ...]:
        """Tables that came out differently from the one that is shown."""
        shown = self.table
        return tuple(one for one in self.tables if shown is not None and one.layout != shown.layout)

    @property
    def unread(self) -> tuple[UnreadRange, ...]:
        """The ranges that could not be read, each once, in the order of their first lines."""
        lines: dict[tuple[str, int, int, str], list[int]] = defaultdict(list)
        for one in self.read_errors:
            lines[(one.of, one.offset, one.length, one.reason)].append(one.line)
        return tuple(UnreadRange(*place, tuple(dict.fromkeys(found))) for place, found in lines.items())
