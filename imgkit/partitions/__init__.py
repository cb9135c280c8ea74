"""HOW MEDIA IS DIVIDED: read_partition_table(image). The answer is ours; every difference to a witness is a finding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from imgkit import blkid
from imgkit.errors import MediaReadError, PartitionError, UsageError
from imgkit.image import Extent
from imgkit.partitions.amiga import read_amiga
from imgkit.partitions.compare import compare
from imgkit.partitions.dos import boot_sector, evidence_of_lba_size, parse_mbr, read_dos, usable_rows
from imgkit.partitions.dos_types import NESTED
from imgkit.partitions.gpt import mbr_findings, read_gpt
from imgkit.partitions.media import Media
from imgkit.partitions.table import ExtendedContainer, Finding, Partition, PartitionTable, Reading
from imgkit.partitions.tiling import beyond_end, bounded, gaps_between, overlaps
from imgkit.partitions.tsk import APPLE_FREE, read_tsk
from imgkit.partitions.tsk import READER as TSK
from imgkit.partitions.tsk import SCHEMES as TSK_SCHEMES
from imgkit.partitions.tsk import version as tsk_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgkit.image import Image
    from imgkit.partitions.dos import Mbr, Row
    from imgkit.partitions.gpt import Gpt

__all__ = ["Finding", "Partition", "PartitionTable", "read_partition_table"]

SECTOR_SIZES: Final = (512, 1024, 2048, 4096)
BLKID: Final = "libblkid"
# libblkid's word -> ours, for what it may answer where TSK refuses or knows no such scheme.
_BLKID_SCHEMES: Final = {
    "dos": "dos", "gpt": "gpt", "mac": "apple", "bsd": "bsd", "sun": "sun", "sgi": "sgi", "atari": "atari", "minix": "minix"
}  # fmt: skip
_EXTENDED: Final = frozenset({0x05, 0x0F, 0x85})
_MOST_FOR_BLKID: Final = 1000  # records of a chain: 10 ms; 30,000 took 6 s
_SGI_META: Final = frozenset({"0x00", "0x06"})  # volume header and whole volume: no partitions
# What TSK is asked for only where this stands in the first bytes: (scheme, offset, magic).
_HINTS: Final = (
    ("apple", 512, b"PM"), ("apple", 1024, b"PM"), ("apple", 2048, b"PM"), ("apple", 4096, b"PM"),
    ("bsd", 512, b"\x57\x45\x56\x82"), ("bsd", 512, b"\x82\x56\x45\x57"), ("bsd", 64, b"\x57\x45\x56\x82"),
    ("sun", 508, b"\xda\xbe"), ("sun", 508, b"\xbe\xda"), ("sun", 524, b"\xee\xde\x0d\x60"), ("sun", 524, b"\x60\x0d\xde\xee"),
)  # fmt: skip
# Recognised and named, not read: (name, offset, magic).
_UNREAD: Final = (("PC-98", 4, b"IPL1"), ("AIX", 0, b"\xc9\xc2\xd4\xc1"))


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one reader makes of the media, before the checks that all schemes share."""

    scheme: str
    sector_size: int
    partitions: tuple[Partition, ...] = ()
    containers: tuple[ExtendedContainer, ...] = ()
    findings: tuple[Finding, ...] = ()
    id: str | None = None
    nested: tuple[Partition, ...] = ()


def read_partition_table(image: Image, *, sector_size: int | None = None) -> PartitionTable:
    """Read how the media is divided; an image without a table gives scheme `none`.

    Args:
        image: The media; read at a handful of places, whatever its size.
        sector_size: Bytes of one LBA where the examiner knows better than the image and the table.

    Returns:
        Partitions and gaps that tile the media, and every anomaly as a finding.

    Raises:
        UsageError: sector_size is none of 512, 1024, 2048, 4096.
        PartitionError: No table was found and not all places where one could be were readable.
    """
    if sector_size is not None and sector_size not in SECTOR_SIZES:
        raise UsageError(f"sector size {sector_size} is none of 512, 1024, 2048, 4096")
    media = Media(image)
    sizes = _candidate_sizes(image, sector_size)
    mbr = parse_mbr(media.read(0, 512))
    notes: list[Finding] = []
    answer = _gpt_or_dos(media, mbr, sizes, notes)
    for row in answer.partitions if answer and answer.scheme == "dos" else ():
        if int(row.type, 16) in NESTED:
            media.read(row.extent.offset, 8192)  # a copy for libblkid must have the nested label
    skipped = _too_long_for_blkid(answer, mbr)
    seen = None if skipped else _blkid_table(media, _not_512(answer.sector_size if answer else sizes[0]))
    if answer is None:
        answer = (
            _other(media, seen, sizes[0]) or _empty_dos(media, mbr, sizes[0]) or _none(media, sizes[0], notes)
        )
    elif answer.scheme == "dos":
        answer = _with_nested(answer, seen)
    if skipped:
        notes.append(Finding("witness.blkid-skipped", "info", skipped))
    return _finish(media, answer, seen, notes)


def _blkid_table(media: Media, sector_size: int | None) -> blkid.BlkidTable | None:
    with media.descriptor() as fd:
        return blkid.probe_partitions(fd, 0, media.image.size, sector_size=sector_size)


def _too_long_for_blkid(answer: _Answer | None, mbr: Mbr | None) -> str:
    """Why libblkid is not asked, or an empty text: on a chain of EBRs its time grows with the square of the length."""
    if answer is None:
        if mbr is None or not any(kind in _EXTENDED for kind, _, _ in mbr.slots):
            return ""
        return "libblkid is not asked: what is no table has an extended row, and could lead it on without end"
    limit = any(item.code == "dos.ebr-limit" for item in answer.findings)
    if answer.scheme != "dos" or not (limit or len(answer.partitions) > _MOST_FOR_BLKID):
        return ""
    return (
        f"libblkid is not asked: its time grows with the square of a chain of over {_MOST_FOR_BLKID} records"
    )


def _candidate_sizes(image: Image, stated: int | None) -> tuple[int, ...]:
    """LBA sizes to try: only the examiner's where there is one, else the container's first."""
    if stated is not None:
        return (stated,)
    first = image.sector_size if image.sector_size in SECTOR_SIZES else 512
    return (first, *(size for size in SECTOR_SIZES if size != first))


def _not_512(sector_size: int) -> int | None:
    """Libblkid's and TSK's default needs no saying."""
    return None if sector_size == 512 else sector_size


def _gpt_or_dos(media: Media, mbr: Mbr | None, sizes: Sequence[int], notes: list[Finding]) -> _Answer | None:
    """The answer of our own two readers, or None; what was seen on the way goes to `notes`."""
    protective = mbr.protective if mbr else None
    end = protective.first_lba + protective.sectors - 1 if protective else None
    gpt = read_gpt(media.read, media.image.size, sector_sizes=sizes, protective_end=end)
    rows = usable_rows(mbr, media.image.size, notes) if mbr else ()
    if gpt is not None and protective is None and rows and mbr:
        text = f"a GPT with {len(gpt.partitions)} partitions lies under an MBR without a 0xEE slot: the MBR is read"
        notes.append(Finding("gpt.under-dos", "warning", text))
        gpt = None
    if gpt is not None and _stale(media, gpt, mbr, notes):
        gpt = None
    if gpt is not None:
        return _gpt_answer(media, gpt, mbr, guessed=len(sizes) > 1)
    if protective is not None:
        text = "the MBR has a 0xEE slot, but there is no usable GPT, neither at LBA 1 nor at the end"
        notes.append(Finding("gpt.missing", "error", text))
    return _dos_answer(media, mbr, rows, sizes) if mbr and rows else None


def _stale(media: Media, gpt: Gpt, mbr: Mbr | None, notes: list[Finding]) -> bool:
    """A lone backup behind a file system that begins at 0 is what a former owner left."""
    if gpt.primary is not None or (mbr and mbr.protective):
        return False
    kind = boot_sector(media.read(0, 512)) or media.volume(0, media.image.size)
    if kind is None:
        return False
    text = f"a backup GPT at {gpt.used.offset}, but the media starts with {kind}: left from a former use, not read"
    notes.append(Finding("gpt.stale-backup", "warning", text))
    return True


def _gpt_answer(media: Media, gpt: Gpt, mbr: Mbr | None, *, guessed: bool) -> _Answer:
    size = gpt.used.sector_size
    findings = [*gpt.findings, *mbr_findings(gpt, mbr.slots if mbr else (), media.image.size)]
    if size != 512 and guessed and media.image.sector_size is None:
        text = f"the header stands at {gpt.used.offset}: LBAs of {size} bytes"
        findings.append(Finding("sector-size.guessed", "info", text))
    return _Answer("gpt", size, gpt.partitions, (), tuple(findings), gpt.used.disk_guid)


def _dos_answer(media: Media, mbr: Mbr, rows: Sequence[Row], sizes: Sequence[int]) -> _Answer:
    size, findings = sizes[0], list[Finding]()
    other = 4096 if size == 512 else 512
    if len(sizes) > 1:
        reasons = evidence_of_lba_size(
            rows, other, against=size, size=media.image.size, read=media.read, is_volume=media.is_volume
        )
        if reasons:
            text = f"LBAs are read as {other} bytes, not {size}: {'; '.join(reasons)}; --sector-size {size} reads them otherwise"
            findings.append(Finding("sector-size.guessed", "warning", text))
            size = other
    table = read_dos(media.read, rows, lba_size=size, size=media.image.size)
    findings += table.findings
    return _Answer("dos", size, table.partitions, table.containers, tuple(findings), mbr.id)


def _with_nested(answer: _Answer, seen: blkid.BlkidTable | None) -> _Answer:
    """Add what libblkid reads inside a primary whose type announces a table of its own (BSD, Minix, Solaris)."""
    parents = [row for row in answer.partitions if not row.logical and int(row.type, 16) in NESTED]
    if seen is None or not parents:
        return answer
    known = {row.extent for row in answer.partitions}
    number = max([4, *(row.number for row in answer.partitions)])
    nested: list[Partition] = []
    for row in seen.partitions:
        extent = Extent(row.offset, row.length)
        if row.table == "dos" or extent in known or not row.length:
            continue
        number += 1
        nested.append(
            Partition(number, len(nested), extent, row.type, f"{row.table} partition", row.name, logical=True)
        )
    if not nested:
        return answer
    text = f"{len(nested)} partitions of a nested table, as libblkid reads it"
    return _Answer(
        answer.scheme, answer.sector_size, answer.partitions, answer.containers,
        (*answer.findings, Finding("dos.nested-table", "info", text)), answer.id, tuple(nested),
    )  # fmt: skip


def _other(media: Media, seen: blkid.BlkidTable | None, sector_size: int) -> _Answer | None:
    """A scheme that we do not read ourselves: TSK's answer, else libblkid's; the Amiga's by our own reader."""
    amiga = read_amiga(media.read)
    if amiga is not None:
        return _Answer("amiga", sector_size, amiga.partitions, (), amiga.findings)
    start = media.read(0, 8192)
    for scheme in dict.fromkeys(word for word, at, magic in _HINTS if start[at : at + len(magic)] == magic):
        reading = _tsk(media, scheme, None)
        if reading.scheme == scheme and reading.partitions:
            return _Answer(scheme, sector_size, reading.partitions)
    if seen is None or seen.type in {"dos", "gpt"} or seen.type not in _BLKID_SCHEMES:
        return None
    return _blkid_answer(seen, sector_size)


def _blkid_answer(seen: blkid.BlkidTable, sector_size: int) -> _Answer:
    """What libblkid reads, as the answer."""
    reading = _as_reading(seen)
    text = f"the table is a {reading.scheme} label as libblkid alone reads it"
    note = Finding("table.one-reader", "info", text)
    return _Answer(reading.scheme, sector_size, reading.partitions, findings=(note,), id=reading.id)


def _empty_dos(media: Media, mbr: Mbr | None, sector_size: int) -> _Answer | None:
    """A disk signature, 55 AA, four empty rows and no file system: an MBR that nobody has filled yet."""
    fresh = (
        mbr is not None
        and not mbr.rows
        and not any(any(slot) for slot in mbr.slots)
        and mbr.boot_sector is None
    )
    if not fresh or mbr is None or mbr.id == "0x00000000" or media.volume(0, media.image.size):
        return None
    return _Answer("dos", sector_size, id=mbr.id)


def _none(media: Media, sector_size: int, notes: list[Finding]) -> _Answer:
    """No table: what there is instead, or that it cannot be told."""
    if media.findings:
        raise PartitionError(
            f"cannot tell whether {media.image.path} has a partition table: {media.findings[0].message}",
            hint="read the failing sectors again from the source, or image it with an imager that keeps a map of them",
        )
    start = media.read(0, 512)
    for name, at, magic in _UNREAD:
        if start[at : at + len(magic)] == magic:
            text = f"a {name} label at 0: recognised, not read; attach by --offset and --length"
            notes.append(Finding("table.unread", "warning", text))
    kind = media.volume(0, media.image.size)
    size = media.image.size
    what = (
        "the media is empty"
        if not size
        else f"the media starts with {kind}"
        if kind
        else "and no file system at 0"
    )
    return _Answer(
        "none", sector_size, findings=(Finding("table.none", "info", f"no partition table; {what}"),)
    )


def _finish(
    media: Media, answer: _Answer, seen: blkid.BlkidTable | None, notes: Sequence[Finding]
) -> PartitionTable:
    """The checks that all schemes share, the witnesses, and the gaps."""
    image, own = media.image, answer.partitions
    findings = [*notes, *answer.findings]
    findings += _media_findings(media, answer)
    findings += beyond_end((*own, *answer.nested), answer.containers, image.size)
    findings += overlaps(own)
    findings += _witness_findings(media, answer, seen)
    findings += media.findings
    partitions = tuple(sorted((*own, *answer.nested), key=lambda row: row.number))
    return PartitionTable(
        scheme=answer.scheme,
        sector_size=answer.sector_size,
        partitions=partitions,
        gaps=tuple(gaps_between((row.extent for row in partitions), image.size)),
        findings=bounded(findings),
        containers=answer.containers,
        id=answer.id,
        readers=_readers(),
    )


def _media_findings(media: Media, answer: _Answer) -> Iterator[Finding]:
    """What concerns the media as a whole."""
    image, size = media.image, answer.sector_size
    if image.size % size:
        text = (
            f"{image.size} bytes are no multiple of {size}: the last {image.size % size} belong to no sector"
        )
        yield Finding("media.odd-size", "warning", text)
    if image.sector_size is not None and image.sector_size != size:
        text = f"the table has LBAs of {size} bytes, the {image.format} says {image.sector_size}"
        yield Finding("sector-size.differs", "warning", text)
    kind = media.volume(0, image.size) if answer.scheme != "none" else None
    if kind is not None and not any(row.extent.offset == 0 for row in answer.partitions):
        text = f"the media starts with {kind}: the table, or the file system, is left from a former use"
        yield Finding("table.filesystem-at-0", "warning", text)


def _witness_findings(media: Media, answer: _Answer, seen: blkid.BlkidTable | None) -> Iterator[Finding]:
    """What the other two readers say, where it is not what we say."""
    if answer.scheme == "amiga":
        return  # neither of them knows it: amiga.rigid-disk-block says so
    if media.image.size:
        yield from compare(
            "witness.tsk-differs", answer.scheme, answer.partitions, _tsk_witness(media, answer)
        )
    if blkid.library_version() is None:
        text = "libblkid is not installed: one witness less, nested and rare labels unread, LBA size not told by volumes"
        yield Finding("witness.blkid-absent", "info", text)
        return
    if seen is not None and seen.rejected:
        text = f"libblkid returns {seen.rejected} rows with numbers that cannot be meant"
        yield Finding("witness.blkid-rejected", "warning", text)
    if _too_long_for_blkid(answer, None):
        return  # witness.blkid-skipped says so
    yield from compare(
        "witness.blkid-differs", answer.scheme, (*answer.partitions, *answer.nested), _as_reading(seen)
    )


def _tsk_witness(media: Media, answer: _Answer) -> Reading:
    """TSK left to find out by itself; where it refuses, asked for our scheme, because only then does it say why."""
    sector_size = _not_512(answer.sector_size)
    reading = _tsk(media, None, sector_size)
    if reading.scheme == "none" and answer.scheme in TSK_SCHEMES:
        return _tsk(media, answer.scheme, sector_size)
    return reading


def _tsk(media: Media, scheme: str | None, sector_size: int | None) -> Reading:
    """TSK's reading; where the media cannot be read, that is its refusal."""
    try:
        return read_tsk(media.image, scheme, sector_size=sector_size)
    except MediaReadError as error:
        return Reading(TSK, "none", refusal=str(error))


def _as_reading(seen: blkid.BlkidTable | None) -> Reading:
    """The table of libblkid as a witness: without containers and what is no partition in its scheme."""
    if seen is None:
        return Reading(BLKID, "none")
    scheme = _BLKID_SCHEMES.get(seen.type, seen.type)
    rows = [row for row in seen.partitions if not row.extended and row.length]
    if scheme == "sgi":
        rows = [row for row in rows if row.type not in _SGI_META]
    if scheme == "apple":
        rows = [row for row in rows if row.type not in APPLE_FREE]
    partitions = tuple(
        Partition(
            row.number, row.number - 1, Extent(row.offset, row.length), row.type, "", row.name, row.uuid
        )
        for row in rows
    )
    return Reading(BLKID, scheme, partitions, id=seen.id)


def _readers() -> tuple[tuple[str, str], ...]:
    """Who read and who witnessed, with versions."""
    from imgkit import __version__  # noqa: PLC0415 - the package imports this module's names lazily

    found = [("imgkit", __version__), ("tsk", tsk_version())]
    library = blkid.library_version()
    return (*found, ("libblkid", library)) if library else tuple(found)
