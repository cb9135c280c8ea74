"""The sections of one segment: https://github.com/libyal/libewf/blob/main/documentation/ ("EWF specification", "The sections").

A segment is a file header of 13 bytes and a chain of sections. The chain is followed only as far as it proves itself:
the Adler-32 of every descriptor, offsets that only ascend, and the two statements of where a section ends must agree.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple
from zlib import adler32

from imgkit.containers.evidence_file import fill
from imgkit.errors import CorruptImage, MissingSegment, UnknownFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.containers.evidence_file import EvidenceFile

SIGNATURE = b"EVF\x09\x0d\x0a\xff\x00"
FILE_HEADER = struct.Struct("<8sBHH")  # signature, start of fields (1), segment number, end of fields (0)
DESCRIPTOR = struct.Struct("<16sQQ40xI")  # type, next offset, size, checksum
COPY_AGAIN = "copy the segment again from the source; a set is read whole or not at all"

_WINDOW = 4096  # the descriptors and small sections of a segment lie close together: one read serves several
# A damaged descriptor of one of these takes no media away as long as the chain goes on.
_OPTIONAL = frozenset({"header", "header2", "xheader", "hash", "digest", "xhash", "error2", "session"})
_LAST = frozenset({"next", "done"})


class Section(NamedTuple):
    """One section.

    Attributes:
        kind: `type` of the descriptor: header, volume, sectors, table ...
        offset: Of the descriptor, in the segment file.
        end: The first byte after the section.
        problem: What is wrong with the descriptor of a section that the media does not need; empty where nothing is.
    """

    kind: str
    offset: int
    end: int
    problem: str = ""

    @property
    def body(self) -> int:
        """The first byte after the descriptor."""
        return self.offset + DESCRIPTOR.size


class SegmentReader:
    """Small reads of one open segment, through a window.

    Attributes:
        path: Of the file.
        size: Bytes of the file, as it was at open.
    """

    def __init__(self, file: EvidenceFile) -> None:
        self.path = file.path
        self.size = file.stat.st_size
        self._fd = file.fd
        self._window = b""
        self._start = 0

    def read(self, offset: int, length: int) -> bytes:
        """Return [offset, offset + length), which must lie in the file.

        Raises:
            MissingSegment: It does not: the segment is short.
            MediaReadError: The kernel failed.
        """
        at = offset - self._start
        if at >= 0 and at + length <= len(self._window):
            return self._window[at : at + length]
        if offset + length > self.size:
            raise self.short("what belongs there goes on", offset + length)
        window = bytearray(min(max(length, _WINDOW), self.size - offset))
        fill(self._fd, offset, memoryview(window), path=self.path, media_offset=0)
        self._window, self._start = bytes(window), offset
        return self._window[:length]

    def short(self, what: str, end: int) -> MissingSegment:
        """The error for a segment in which `what` goes on to `end`, beyond the end of the file."""
        return MissingSegment(
            f"segment {self.path} is short: it has {self.size} bytes and {what} to byte {end}",
            hint=COPY_AGAIN,
        )


def segment_number(reader: SegmentReader) -> int:
    """Check the file header and return the segment number.

    Raises:
        MissingSegment: The file is no segment.
    """
    if reader.size < FILE_HEADER.size + DESCRIPTOR.size:
        raise reader.short("a segment goes at least", FILE_HEADER.size + DESCRIPTOR.size)
    signature, start, number, end = FILE_HEADER.unpack(reader.read(0, FILE_HEADER.size))
    if signature != SIGNATURE or start != 1 or end != 0:
        raise MissingSegment(
            f"{reader.path} stands where a segment should be and does not begin as one",
            hint=COPY_AGAIN,
        )
    return int(number)


def sections(reader: SegmentReader) -> Iterator[Section]:
    """Follow the chain; the last section that comes is `next` or `done`.

    Raises:
        CorruptImage: A descriptor fails its Adler-32, or the chain turns back or states two ends.
        MissingSegment: A section ends beyond the file.
        UnknownFormat: The sections of a logical evidence file.
    """
    offset = FILE_HEADER.size
    while True:
        section = _section(reader, offset)
        yield section
        if section.kind in _LAST:
            return
        offset = section.end


def _section(reader: SegmentReader, offset: int) -> Section:
    if offset + DESCRIPTOR.size > reader.size:
        raise reader.short(f"the section at {offset} goes on", offset + DESCRIPTOR.size)
    raw = reader.read(offset, DESCRIPTOR.size)
    name, following, size, checksum = DESCRIPTOR.unpack(raw)
    kind = name.split(b"\0", 1)[0].decode("latin-1")
    sound = adler32(raw[:-4]) == checksum
    if kind in _LAST and sound:
        if following not in {offset, offset + DESCRIPTOR.size} or size not in {0, DESCRIPTOR.size}:
            raise CorruptImage(
                f"the {kind} section at {offset} of {reader.path} states that more follows at {following}"
            )
        return Section(kind, offset, offset + DESCRIPTOR.size)
    size = size or following - offset  # Expert Witness 1.35 leaves the size at zero
    agreed = size >= DESCRIPTOR.size and following == offset + size
    if not sound:
        if kind in _OPTIONAL and agreed and following < reader.size:
            return Section(kind, offset, following, "its descriptor fails its Adler-32")
        raise _unsound(reader.path, offset, raw)
    if kind in {"ltree", "ltypes"}:
        raise UnknownFormat(
            f"{reader.path} is an L01 (EWF logical evidence), which imgkit does not read",
            hint="it holds files, not a disk: open it with EnCase or FTK Imager",
        )
    if not agreed:
        raise CorruptImage(
            f"the {_shown(kind)} section at {offset} of {reader.path} has {size} bytes but the next is said to be at {following}",
            hint="two images can hide in one file that way; open it with the program that made it",
        )
    if following > reader.size:
        raise reader.short(f"its {_shown(kind)} section at {offset} goes on", following)
    return Section(kind, offset, following)


def _unsound(path: str, offset: int, raw: bytes) -> CorruptImage:
    if not any(raw):  # ewfacquire writes the descriptor of the chunks once it has them all
        return CorruptImage(
            f"zeros stand at {offset} of {path} where a section should begin",
            hint="the acquisition was not finished, or the copy is not whole: copy the segment again from the source",
        )
    return CorruptImage(
        f"the descriptor of a section at {offset} of {path} fails its Adler-32",
        hint="nothing after it in this segment can be found; copy the segment again from the source",
    )


def _shown(kind: str) -> str:
    return kind if kind.isascii() and kind.isalnum() else ascii(kind)
