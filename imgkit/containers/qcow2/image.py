"""Qcow2Image: the active state of a qcow2 file and of what it builds upon, as media."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from imgkit.containers.evidence_file import fill, let_go
from imgkit.containers.qcow2.backing import backing_notices, clear, read_parent
from imgkit.containers.qcow2.clusters import CompressedClusters, Wanted
from imgkit.containers.qcow2.header import BITMAPS_CONSISTENT, COMPRESSION_TYPES, LAZY_REFCOUNTS
from imgkit.containers.qcow2.refcounts import last_used
from imgkit.containers.qcow2.tables import ClusterMap, Kind, Run
from imgkit.errors import CorruptMedia, MediaReadError
from imgkit.image import Extent, Image, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.qcow2.clusters import Bad
    from imgkit.containers.qcow2.header import Header

_SECTOR = 512  # QEMU shows whole ones only


class Qcow2Image(Image):
    """A qcow2 file. Takes over `file` and `parent` and closes them."""

    format = "qcow2"

    def __init__(
        self,
        file: EvidenceFile,
        header: Header,
        parent: Image | None,
        *,
        snapshots: tuple[dict[str, object], ...] = (),
        sector_size: int | None = None,
    ) -> None:
        self._file = file
        self._parent = parent
        self._map = ClusterMap(file, header)
        self._compressed = CompressedClusters(file, header)
        self.path = file.path
        self.size = header.size
        self.sector_size = sector_size
        self.sector_size_source = "stated by the user" if sector_size else None
        above = parent.segments if parent else ()
        self.segments = (file.segment, *(replace(segment, role="parent") for segment in above))
        self.metadata = _metadata(file, header, parent, snapshots)
        if self._is_cut_short(header):
            self._say_cut_short(file)
        self.cut_short += parent.cut_short if parent else ()

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """See Image.read_into."""
        if self._file.fd < 0:
            msg = "read of a closed image"
            raise ValueError(msg)
        wanted = buffer[: max(0, self.size - offset)]
        end = offset + len(wanted)
        bad: list[Bad] = []
        compressed: list[Wanted] = []
        for run in self._map.runs(offset, end):
            start, stop = max(run.offset, offset), min(run.offset + run.length, end)
            if start >= stop:
                continue
            target = wanted[start - offset : stop - offset]
            if run.kind is Kind.COMPRESSED:
                compressed.append(Wanted(run, start - run.offset, target))
            else:
                bad += self._read_run(run, start, target)
        bad += self._compressed.read(compressed)
        if bad:
            raise _corrupt(self.path, sorted(bad))
        return len(wanted)

    def _is_cut_short(self, header: Header) -> bool:
        """Whether clusters lie beyond the end: the counts give a reason to look, the tables decide."""
        if last_used(self._file, header) < self._file.stat.st_size:
            return False
        return any(run.kind is Kind.BAD for run in self._map.runs(0, self.size, claim=False))

    def _say_cut_short(self, file: EvidenceFile) -> None:
        self.cut_short = (file.path,)
        notice = (
            f"{file.path} ends at {file.stat.st_size}, and clusters of it lie beyond that: the file was cut short, "
            "and what is missing cannot be read"
        )
        self.metadata = {**self.metadata, "notices": (notice, *_tuple(self.metadata.get("notices")))}

    def _read_run(self, run: Run, start: int, target: memoryview) -> list[Bad]:
        """Fill the target with what is not compressed; return what could not be read of it."""
        if run.kind is Kind.BAD:
            return [(start, len(target), f"{self.path}: {run.reason}")]
        if run.kind is Kind.UNALLOCATED and self._parent is not None:
            return read_parent(self._parent, start, target)
        if run.kind is not Kind.DATA:
            clear(target)
            return []
        try:
            fill(self._file.fd, run.host + start - run.offset, target, path=self.path, media_offset=start)
        except MediaReadError as error:
            if error.errno is not None:  # a bad sector of the disk that holds the file: the caller narrows it
                raise
            return [(error.offset, error.length, error.message)]
        return []

    def data_extents(self) -> Iterator[Extent]:
        """See Image.data_extents; from the tables. What cannot be read counts as data."""
        return joined(self._stored_extents())

    def _stored_extents(self) -> Iterator[Extent]:
        above = _Extents(self._parent)
        for run in self._map.runs(0, self.size, claim=False):
            extent = Extent(run.offset, run.length).clipped_to(self.size)
            if run.kind is Kind.UNALLOCATED:
                yield from above.within(extent)
            elif run.kind is not Kind.ZERO:
                yield extent

    @property
    def anomalies(self) -> tuple[str, ...]:
        """Those of what the image builds upon; its own tables have no copies to fall back to."""
        return self._parent.anomalies if self._parent else ()

    def forget(self, offset: int, length: int) -> None:
        """See Image.forget; of the backing files too."""
        end = min(offset + length, self.size)
        stored: list[tuple[int, int]] = []
        for run in self._map.runs(offset, end, claim=False):
            if run.kind in {Kind.DATA, Kind.COMPRESSED}:
                stored.append((run.host, run.host + (run.stored or run.length)))
            elif run.kind is Kind.UNALLOCATED and self._parent is not None:
                self._parent.forget(run.offset, run.length)
        let_go(self._file.fd, *stored)

    def close(self) -> None:
        """Close every file of the chain, and end the threads."""
        self._compressed.close()
        self._file.close()
        if self._parent is not None:
            self._parent.close()


class _Extents:
    """The extents of a parent, asked for by ascending ranges."""

    def __init__(self, parent: Image | None) -> None:
        self._rest = parent.data_extents() if parent else iter(())
        self._next = next(self._rest, None)

    def within(self, wanted: Extent) -> Iterator[Extent]:
        """Yield the parts of the extents that lie in `wanted`."""
        while self._next is not None and self._next.offset < wanted.end:
            start = max(self._next.offset, wanted.offset)
            stop = min(self._next.end, wanted.end)
            if start < stop:
                yield Extent(start, stop - start)
            if self._next.end > wanted.end:
                return
            self._next = next(self._rest, None)


def _corrupt(path: str, bad: list[Bad]) -> CorruptMedia:
    offset, length, reason = bad[0]
    more = f", and {len(bad) - 1} more ranges" if len(bad) > 1 else ""
    return CorruptMedia(
        f"cannot read {length} bytes at {offset} of the media of {path}: {reason}{more}",
        offset=offset,
        length=length,
        hint="copy the file again from its source; what a damaged cluster held is not to be had from it",
        ranges=tuple(bad),
    )


def _metadata(
    file: EvidenceFile, header: Header, parent: Image | None, snapshots: tuple[dict[str, object], ...]
) -> dict[str, object]:
    above = parent.metadata if parent else {}
    found: dict[str, object] = {
        "atime_may_change": file.atime_may_change or bool(above.get("atime_may_change")),
        "container": _container(header),
    }
    notices = (*_notices(file, header), *backing_notices(file, header, parent), *_tuple(above.get("notices")))
    if notices:
        found["notices"] = notices
    if snapshots:
        found["snapshots"] = snapshots
    if parent:
        nearest = {"path": parent.path, "format": parent.format, "size": parent.size}
        found["chain"] = (nearest, *_tuple(above.get("chain")))
    return found


def _tuple(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()


def _container(header: Header) -> dict[str, object]:
    facts: dict[str, object] = {
        "version": header.version,
        "virtual_size": header.size,
        "cluster_size": header.cluster_size,
        "compression_type": COMPRESSION_TYPES[header.compression_type],
        "lazy_refcounts": bool(header.compatible_features & LAZY_REFCOUNTS),
        "extended_l2": header.extended_l2,
        "refcount_bits": 1 << header.refcount_order,
        "nb_snapshots": header.nb_snapshots,
        "nb_bitmaps": header.nb_bitmaps,
    }
    if header.nb_bitmaps:
        facts["bitmaps_consistent"] = bool(header.autoclear_features & BITMAPS_CONSISTENT)
    if header.backing_file is not None:
        facts["backing_file"] = header.backing_file.decode("utf-8", "backslashreplace")
        stated = header.backing_format
        facts["backing_format"] = stated.decode("ascii", "backslashreplace") if stated else None
    return facts


def _notices(file: EvidenceFile, header: Header) -> tuple[str, ...]:
    found = []
    if header.nb_snapshots:
        found.append(
            f"{file.path} has internal snapshots ({header.nb_snapshots}): the media is the active state, "
            "what only a snapshot has is not part of it"
        )
    if tail := header.size % _SECTOR:
        found.append(f"{file.path} states {header.size} bytes of media; QEMU shows a guest {tail} fewer")
    return tuple(found)
