"""Run: where a range of the media lies; what every kind of extent answers with."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kind(enum.IntEnum):
    """How the bytes of a run come about."""

    ZERO = 0  # stated to be zeros, or never written
    ABSENT = 1  # never written here: the parent's, zeros where there is none
    DATA = 2  # bytes of a file
    PACKED = 3  # one compressed grain, or a part of it
    BAD = 4  # cannot be told


class Run(NamedTuple):
    """A range of the media with one origin.

    Attributes:
        kind: See Kind.
        offset: Of the media (of the extent, where an extent answers).
        length: Bytes.
        file: Index of the file (DATA, PACKED).
        position: Where in the file (DATA: of the first byte; PACKED: of the grain's marker).
        grain: Number of the grain in its extent (PACKED).
        limit: Bytes in the file up to the next grain as far as known (PACKED).
        reason: Why (BAD).
        errno: What the kernel said (BAD), or None.
    """

    kind: Kind
    offset: int
    length: int
    file: int = 0
    position: int = 0
    grain: int = 0
    limit: int = 0
    reason: str = ""
    errno: int | None = None


class Extent(Protocol):
    """One line of a descriptor, opened: it tells where its bytes are and reads none of them.

    Attributes:
        start: First byte of the media that it holds.
        length: Bytes.
    """

    start: int
    length: int

    def runs(self, offset: int, length: int) -> Iterator[Run]:
        """Yield the runs that tile [offset, offset + length) of the media, ascending."""

    def allocation(self) -> Iterator[Run]:
        """Yield runs that tile the whole extent, ascending, of which only the kind has to be right."""


class ZeroExtent:
    """An extent of type ZERO."""

    def __init__(self, start: int, length: int) -> None:
        self.start, self.length = start, length

    def runs(self, offset: int, length: int) -> Iterator[Run]:
        """See Extent.runs."""
        yield Run(Kind.ZERO, offset, length)

    def allocation(self) -> Iterator[Run]:
        """See Extent.allocation."""
        return self.runs(self.start, self.length)


class FlatExtent:
    """An extent whose bytes lie in a file one after the other, from `position` on."""

    def __init__(self, start: int, length: int, *, file: int, position: int) -> None:
        self.start, self.length = start, length
        self._file, self._position = file, position

    def runs(self, offset: int, length: int) -> Iterator[Run]:
        """See Extent.runs."""
        yield Run(Kind.DATA, offset, length, self._file, self._position + offset - self.start)

    def allocation(self) -> Iterator[Run]:
        """See Extent.allocation."""
        return self.runs(self.start, self.length)
