"""The L1 and L2 tables: which bytes of the file, if any, each range of the media is stored in.

Nothing here reads data. L2 tables are read when they are first needed and few are kept.
"""

from __future__ import annotations

import enum
import re
import struct
import threading
from collections import Counter, OrderedDict
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from imgkit.containers.qcow2.claims import Claims
from imgkit.containers.qcow2.header import read_exactly
from imgkit.errors import MediaReadError
from imgkit.image import Extent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.qcow2.header import Header

_OFFSET = 0x00FF_FFFF_FFFF_FE00  # bits 9-55 of an L1 entry or a standard cluster descriptor
_L1_RESERVED = 0x7F00_0000_0000_01FF
_STANDARD_RESERVED = 0x3F00_0000_0000_01FE
_READS_AS_ZEROS = 1
_COPIED, _COMPRESSED = 1 << 63, 1 << 62
_SECTOR = 512
_SUBCLUSTERS = 32
_UNIFORM = {0: 0, 0xFFFF_FFFF: 1, 0xFFFF_FFFF << 32: 2}  # bitmap -> state of every subcluster

_TABLES_KEPT = 16 << 20  # bytes of L2 tables
_MOST_COMPARED = 1 << 18  # L2 tables that are held against each other and against the data's place
_OTHERS = "a table, the header or another range of the media lies too"
_NONZERO = re.compile(rb"[^\0]")


class Kind(enum.Enum):
    """Where the bytes of a range of the media come from."""

    UNALLOCATED = enum.auto()  # the backing file, or zeros
    ZERO = enum.auto()
    DATA = enum.auto()
    COMPRESSED = enum.auto()
    BAD = enum.auto()


class Run(NamedTuple):
    """A range of the media whose bytes come from one place.

    Attributes:
        kind: Which kind of place.
        offset: First byte of the media.
        length: Bytes of the media; of one that is compressed, always a cluster.
        host: First byte of the file, for DATA and COMPRESSED.
        stored: Most bytes of the file that a compressed cluster takes.
        reason: Why a BAD one cannot be read.
    """

    kind: Kind
    offset: int
    length: int
    host: int = 0
    stored: int = 0
    reason: str = ""


class ClusterMap:
    """The tables of one file. Safe from several threads at once."""

    def __init__(self, file: EvidenceFile, header: Header) -> None:
        self._file = file
        self._header = header
        self._bits = header.cluster_bits
        self._file_size = file.stat.st_size
        self._l1 = read_exactly(file, header.l1_table_offset, header.l1_needed * 8)
        self._claims = Claims(header, self._file_size)
        tables = self._l2_offsets()
        self._claims.bar(tables)
        self._shared = {offset for offset, count in Counter(tables).items() if count > 1}
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._claimed = bytearray(header.l1_needed)  # 1: the clusters of that L2 table are claimed
        self._room = max(2, _TABLES_KEPT >> self._bits)

    def runs(self, offset: int, end: int, *, claim: bool = True) -> Iterator[Run]:
        """Yield runs, ascending and without gaps, that cover [offset, end) of the media, and up to a cluster around it.

        Args:
            offset: First byte.
            end: The byte after the last.
            claim: Hold the tables' clusters against each other; only who reads no data needs not.
        """
        span = self._header.l2_span
        while offset < end:
            index = offset // span
            entry = int.from_bytes(self._l1[index * 8 : index * 8 + 8], "big")
            if entry & ~_COPIED == 0:
                after = self._next_table(index + 1, -(-end // span)) * span
                yield Run(Kind.UNALLOCATED, offset, min(after, end) - offset)
                offset = after
                continue
            after = min((index + 1) * span, end)
            yield from self._runs_of_table(index, entry, Extent(offset, after - offset), claim=claim)
            offset = after

    def _next_table(self, index: int, end: int) -> int:
        """The first entry of the L1 table from `index` that is not zero, at most `end`."""
        found = _NONZERO.search(self._l1, index * 8, end * 8)
        return found.start() // 8 if found else max(index, end)

    def _l2_offsets(self) -> list[int]:
        """Where the L2 tables lie, as far as there are few enough to be compared."""
        offsets: list[int] = []
        index = self._next_table(0, self._header.l1_needed)
        while index < self._header.l1_needed and len(offsets) < _MOST_COMPARED:
            entry = int.from_bytes(self._l1[index * 8 : index * 8 + 8], "big")
            if entry & _OFFSET:
                offsets.append(entry & _OFFSET)
            index = self._next_table(index + 1, self._header.l1_needed)
        return offsets

    def _runs_of_table(self, index: int, entry: int, wanted: Extent, *, claim: bool) -> Iterator[Run]:
        """The runs of a range that one L2 table describes."""
        base = index * self._header.l2_span
        reason = self._l1_fault(entry)
        if not reason:
            try:
                table = self._l2_table(entry & _OFFSET)
            except MediaReadError as error:
                reason = f"its L2 table cannot be read: {error.message}"
            else:
                if claim:
                    self._claim(table, index, base)
                first, last = (wanted.offset - base) >> self._bits, -(-(wanted.end - base) >> self._bits)
                yield from self._entries(table, base, first, last)
                return
        yield Run(Kind.BAD, wanted.offset, wanted.length, reason=f"entry {index} of the L1 table: {reason}")

    def _l1_fault(self, entry: int) -> str:
        """Why an entry of the L1 table leads to no L2 table; empty where it does."""
        offset = entry & _OFFSET
        if entry & _L1_RESERVED:
            return f"{entry:#018x} has reserved bits set"
        if offset & (self._header.cluster_size - 1):
            return f"its L2 table would start at {offset}, inside a cluster"
        if offset + self._header.cluster_size > self._file_size:
            return (
                f"its L2 table would end at {offset + self._header.cluster_size}, after the end of the file"
            )
        if offset in self._claims.fixed:
            return f"its L2 table would lie at {offset}, where the file has its header or another table"
        if offset in self._shared:
            return f"its L2 table at {offset} is that of another entry too"
        return ""

    def _l2_table(self, offset: int) -> bytes:
        with self._lock:
            if (table := self._kept.get(offset)) is not None:
                self._kept.move_to_end(offset)
                return table
        table = read_exactly(self._file, offset, self._header.cluster_size)
        with self._lock:
            self._kept[offset] = table
            while len(self._kept) > self._room:
                self._kept.popitem(last=False)
        return table

    def _claim(self, table: bytes, index: int, base: int) -> None:
        """Take note of every cluster that an L2 table leads to, before the first of them is read."""
        with self._lock:
            if self._claimed[index]:
                return
            last = -1
            for run in self._entries(table, base, 0, self._header.cluster_size // self._header.l2_entry_size):
                if run.kind is Kind.DATA and run.offset >> self._bits != last:  # subclusters share a cluster
                    self._claims.claim(run.host, run.length)
                elif run.kind is Kind.COMPRESSED:
                    self._claims.claim_compressed(run.host, run.stored)
                last = run.offset >> self._bits
            self._claimed[index] = 1

    def _entries(self, table: bytes, base: int, index: int, end: int) -> Iterator[Run]:
        """The runs of the entries [index, end) of an L2 table whose media starts at `base`."""
        size = self._header.l2_entry_size
        while index < end:
            guest = base + (index << self._bits)
            found = _NONZERO.search(table, index * size, end * size)
            used = found.start() // size if found else end
            if used > index:
                yield Run(Kind.UNALLOCATED, guest, (used - index) << self._bits)
                index = used
                continue
            (entry,) = struct.unpack_from(">Q", table, index * size)
            if size == 16:
                (bitmap,) = struct.unpack_from(">Q", table, index * 16 + 8)
                count = _like_extended(table, index, end, self._header.cluster_size)
                yield from self._extended(entry, bitmap, guest, count << self._bits)
            else:
                count = _like(table, index, end, entry, self._header.cluster_size)
                yield from self._standard(entry, guest, count << self._bits)
            index += count

    def _standard(self, entry: int, guest: int, length: int) -> Iterator[Run]:
        """An entry of 8 bytes, and those after it that go on where it ends (`length` bytes of media in all)."""
        if entry & _COMPRESSED:
            yield self._compressed(entry, guest)
        elif fault := self._standard_fault(entry):
            yield Run(Kind.BAD, guest, length, reason=fault)
        elif entry & _READS_AS_ZEROS:
            yield Run(Kind.ZERO, guest, length)
        else:
            yield from self._data(entry & _OFFSET, guest, length)

    def _standard_fault(self, entry: int) -> str:
        """Why a standard cluster descriptor cannot be meant; empty where it can."""
        host = entry & _OFFSET
        if entry & _STANDARD_RESERVED:
            return f"its L2 entry {entry:#018x} has reserved bits set"
        if host & (self._header.cluster_size - 1):
            return f"its cluster would start at {host}, inside a cluster of the file"
        if entry & _READS_AS_ZEROS and (self._header.version < 3 or self._header.extended_l2):
            return f"its L2 entry {entry:#018x} has a zero flag, which this kind of qcow2 does not have"
        if host == 0 and entry & _COPIED:
            return f"its L2 entry {entry:#018x} leads to the header"
        return ""

    def _extended(self, entry: int, bitmap: int, guest: int, length: int) -> Iterator[Run]:
        """An entry of 16 bytes, a descriptor and two bits for each of 32 subclusters; and those that go on where it ends."""
        if entry & _COMPRESSED:
            if bitmap:
                reason = "its L2 entry is of a compressed cluster and has subclusters"
                yield Run(Kind.BAD, guest, length, reason=reason)
            else:
                yield self._compressed(entry, guest)
        elif fault := self._standard_fault(entry):
            yield Run(Kind.BAD, guest, length, reason=fault)
        elif bitmap in _UNIFORM:
            yield from self._subcluster_run(_UNIFORM[bitmap], entry & _OFFSET, guest, (0, length))
        else:
            size = self._header.cluster_size // _SUBCLUSTERS
            for at, count, state in _subclusters(bitmap):
                yield from self._subcluster_run(state, entry & _OFFSET, guest, (at * size, count * size))

    def _subcluster_run(self, state: int, host: int, guest: int, part: tuple[int, int]) -> Iterator[Run]:
        inside, length = part
        if state == 0:
            yield Run(Kind.UNALLOCATED, guest + inside, length)
        elif state == 2:
            yield Run(Kind.ZERO, guest + inside, length)
        elif state == 3:
            reason = "its L2 entry says of a subcluster both that it is allocated and that it reads as zeros"
            yield Run(Kind.BAD, guest + inside, length, reason=reason)
        elif host == 0:
            yield Run(
                Kind.BAD, guest + inside, length, reason="a subcluster is allocated and its cluster is not"
            )
        else:
            yield from self._data(host + inside, guest + inside, length)

    def _compressed(self, entry: int, guest: int) -> Run:
        """Compressed Clusters Descriptor: offset in the low x bits, then the number of additional sectors."""
        x = 62 - (self._bits - 8)
        host = entry & ((1 << x) - 1)
        additional = entry >> x & ((1 << (62 - x)) - 1)
        stored = min((additional + 1) * _SECTOR - host % _SECTOR, self._file_size - host)
        size = self._header.cluster_size
        if entry & _COPIED:
            return Run(
                Kind.BAD, guest, size, reason=f"its L2 entry {entry:#018x} is compressed and exclusive"
            )
        if stored <= 0:
            reason = f"its compressed cluster would start at {host}, after the end of the file"
            return Run(Kind.BAD, guest, size, reason=reason)
        if self._claims.taken(host, stored) is not None:
            reason = f"its compressed cluster lies at {host}, where {_OTHERS}"
            return Run(Kind.BAD, guest, size, reason=reason)
        return Run(Kind.COMPRESSED, guest, size, host, stored)

    def _data(self, host: int, guest: int, length: int) -> Iterator[Run]:
        """Bytes stored as they are; what lies beyond the end of the file or in a table is none."""
        end = host + length
        while host < end:
            taken = self._claims.taken(host, end - host)
            stop = min(end, self._file_size, end if taken is None else max(host, taken))
            if stop > host:
                yield Run(Kind.DATA, guest, stop - host, host)
                guest, host = guest + stop - host, stop
            elif host >= self._file_size:
                reason = f"its cluster would lie at {host}, after the end of the file at {self._file_size}"
                yield Run(Kind.BAD, guest, end - host, reason=reason)
                return
            else:
                part = min(end, (host | (self._header.cluster_size - 1)) + 1) - host
                reason = f"its cluster lies at {host}, where {_OTHERS}"
                yield Run(Kind.BAD, guest, part, reason=reason)
                guest, host = guest + part, host + part


def _like(table: bytes, index: int, end: int, entry: int, cluster_size: int) -> int:
    """How many entries from `index` on continue the first: the same flags, the next cluster of the file."""
    if entry & _COMPRESSED:
        return 1
    step = cluster_size if entry & _OFFSET else 0
    expected, count = entry, 0
    for (found,) in struct.iter_unpack(">Q", memoryview(table)[index * 8 : end * 8]):
        if found != expected:
            break
        expected += step
        count += 1
    return count


def _like_extended(table: bytes, index: int, end: int, cluster_size: int) -> int:
    """The same for entries of 16 bytes, of which each has all its subclusters in one state."""
    entry, bitmap = struct.unpack_from(">QQ", table, index * 16)
    if entry & _COMPRESSED or bitmap not in _UNIFORM:
        return 1
    step = cluster_size if entry & _OFFSET else 0
    count = 0
    for found in struct.iter_unpack(">QQ", memoryview(table)[index * 16 : end * 16]):
        if found != (entry + count * step, bitmap):
            break
        count += 1
    return count


def _subclusters(bitmap: int) -> Iterator[tuple[int, int, int]]:
    """Yield (first, how many, state) of subclusters in one state: 1 is allocated, 2 reads as zeros, 3 both."""
    states = [_state(bitmap, at) for at in range(_SUBCLUSTERS)]
    at = 0
    for state, alike in groupby(states):
        count = len(list(alike))
        yield at, count, state
        at += count


def _state(bitmap: int, at: int) -> int:
    return (bitmap >> at & 1) | (bitmap >> (at + 32) & 1) << 1
