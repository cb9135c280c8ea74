"""Image: the media as read-only bytes, whatever file or files it is stored in; Extent: a range of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

from imgkit.errors import MediaReadError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

    from imgkit.hashing import Digest


@dataclass(frozen=True, slots=True, order=True)
class Extent:
    """A half-open byte range of the media: [offset, offset + length).

    Attributes:
        offset: First byte, from the start of the media.
        length: Number of bytes; 0 is an empty extent.
    """

    offset: int
    length: int

    def __post_init__(self) -> None:
        if self.offset < 0 or self.length < 0:
            msg = f"an extent cannot start at {self.offset} with length {self.length}"
            raise ValueError(msg)

    @property
    def end(self) -> int:
        """The first byte after the extent."""
        return self.offset + self.length

    def contains(self, other: Extent) -> bool:
        """Whether every byte of `other` lies in this extent."""
        return self.offset <= other.offset and other.end <= self.end

    def overlaps(self, other: Extent) -> bool:
        """Whether at least one byte lies in both."""
        return max(self.offset, other.offset) < min(self.end, other.end)

    def clipped_to(self, size: int) -> Extent:
        """The part of the extent below `size` bytes (empty at `size` where none is)."""
        start = min(self.offset, size)
        return Extent(start, min(self.end, size) - start)


def joined(extents: Iterable[Extent]) -> Iterator[Extent]:
    """Yield ascending extents with neighbours made one, without the empty ones."""
    held = Extent(0, 0)
    for extent in extents:
        if extent.length and extent.offset == held.end:
            held = Extent(held.offset, held.length + extent.length)
        elif extent.length:
            if held.length:
                yield held
            held = extent
    if held.length:
        yield held


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of a container.

    Attributes:
        path: Absolute path as opened.
        size: Bytes of the file as it lies.
        stat: os.stat_result of the open descriptor.
        role: `segment` holds media; `descriptor` says how; `parent` is a file of the image that this one builds upon.
    """

    path: str
    size: int
    stat: os.stat_result = field(compare=False, repr=False)
    role: Literal["segment", "descriptor", "parent"] = "segment"


class Image(ABC):
    """An opened container: read-only media bytes. A context manager; close() may be called more than once.

    Attributes:
        format: Container name: `raw`, `split-raw`, `block-device`, `ewf`, `qcow2`, `vmdk`, `vhd`, `vhdx`.
        path: The path that was opened, absolute.
        size: Bytes of the media.
        sector_size: Bytes, where the container or device states it; None where nothing does.
        sector_size_source: In words, where sector_size comes from (`BLKSSZGET`), or None.
        segments: Every file that the media is made of: the container's own in order, then those of its parents.
        cut_short: Paths of the segments that end before bytes which they say they hold: reads of those are errors.
        stored_digests: Digests of the media that the container itself states.
        metadata: What the container states, as found, for `info`; plain JSON values. Known keys: `notices` (sentences
            for the examiner, a tuple), `atime_may_change`, `container` (facts of the format: version, sizes,
            compression), `acquisition` (who, when, with what, as written), `acquisition_problems` (sentences on what
            of that is in doubt, among the notices too), `acquisition_errors` ({offset, length} in bytes), `sessions`, `tracks`,
            `snapshots`, `chain` (the parents, nearest first).
    """

    format: str
    path: str
    size: int
    sector_size: int | None = None
    sector_size_source: str | None = None
    segments: tuple[Segment, ...] = ()
    cut_short: tuple[str, ...] = ()
    stored_digests: tuple[Digest, ...] = ()
    metadata: Mapping[str, object] = {}

    @abstractmethod
    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` with the media from `offset` on; return the number of bytes (less only at the media's end).

        Safe from several threads at once.

        Raises:
            MediaReadError: Bytes could not be read, or a file is shorter than it was at open: never zeros instead.
        """

    def read_again(self, offset: int, buffer: memoryview) -> int:
        """As read_into, for one sector of a range in which the kernel could not read something."""
        return self.read_into(offset, buffer)

    @abstractmethod
    def data_extents(self) -> Iterator[Extent]:
        """Yield the extents that hold data, ascending, no two of which touch; what lies between reads as zeros."""

    @abstractmethod
    def close(self) -> None:
        """Close every file. Closing twice is allowed."""

    def backing_fileno(self) -> int | None:
        """The descriptor of the one plain file or device whose bytes are the media, or None (split, container)."""
        return None

    @property
    def anomalies(self) -> tuple[str, ...]:
        """What was found wrong since the image was opened that took no byte away (a table read from its copy)."""
        return ()

    def forget(self, offset: int, length: int) -> None:  # noqa: B027  (media that lies in no file has nothing to forget)
        """Tell the kernel that these bytes of the media will not be read again soon."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly the media bytes [offset, offset + length), fewer only past the media's end.

        Raises:
            MediaReadError: As read_into.
        """
        length = max(0, min(length, self.size - offset))
        buffer = bytearray(length)
        done = self.read_into(offset, memoryview(buffer)) if length else 0
        return bytes(buffer[:done])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_what_can_be(image: Image, offset: int, length: int) -> bytes:
    """The media bytes [offset, offset + length), fewer past the end, with zeros for what cannot be read.

    For who looks whether something is there; none where the reader cannot say what is readable.
    """
    buffer = bytearray(max(0, min(length, image.size - offset)))
    try:
        return bytes(buffer[: image.read_into(offset, memoryview(buffer))]) if buffer else b""
    except MediaReadError as error:
        if not error.ranges:
            return b""
        for start, size, _ in error.ranges:
            first = max(0, start - offset)
            last = max(first, min(len(buffer), start + size - offset))
            buffer[first:last] = bytes(last - first)
        return bytes(buffer)
