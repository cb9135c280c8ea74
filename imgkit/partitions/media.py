"""Bounded reads of an image for table readers, and the descriptor that libblkid needs."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from imgkit import blkid
from imgkit.errors import MediaReadError
from imgkit.image import read_what_can_be
from imgkit.partitions.table import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.image import Image

_MIB: Final = 1 << 20


@dataclass(slots=True)
class Media:
    """Reads that remember what was read (for the witness's copy) and what could not be.

    Attributes:
        image: The media.
        findings: One for each place that could not be read.
        pieces: What was read, by offset, where no descriptor holds the media.
    """

    image: Image
    findings: list[Finding] = field(default_factory=list)
    pieces: dict[int, bytes] = field(default_factory=dict)

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there, fewer past the end, none where the media cannot be read (a finding says so)."""
        data = self._bytes(offset, length)
        if self.image.backing_fileno() is None:
            self.pieces[offset] = max(data, self.pieces.get(offset, b""), key=len)
        return data

    def _bytes(self, offset: int, length: int) -> bytes:
        if length <= 0 or not 0 <= offset < self.image.size:
            return b""
        try:
            return self.image.read_at(offset, length)
        except MediaReadError as error:
            text = f"{length} bytes at {offset} cannot be read: {error}"
            self.findings.append(Finding("media.unreadable", "error", text))
            return b""

    def is_volume(self, offset: int, length: int) -> bool:
        """Whether libblkid finds a file system there, as far as the media goes."""
        return self.volume(offset, length) is not None

    def volume(self, offset: int, length: int) -> str | None:
        """The type of the file system there, or None."""
        length = min(length, self.image.size - offset)
        if length <= 0:
            return None
        fd = self.image.backing_fileno()
        if fd is not None:
            found = blkid.probe_superblock(fd, offset, length)
        else:
            found = blkid.probe_superblock_through(
                lambda at, count: read_what_can_be(self.image, offset + at, count), length
            )
        return found.type if found else None

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """One descriptor that holds the tables: the file itself, or a sparse copy of its ends and of what was read."""
        fd = self.image.backing_fileno()
        if fd is not None:
            yield fd
            return
        size = self.image.size
        # What cannot be read there is no finding: our own readers have asked for every place where a table has to be.
        ends = [(at, read_what_can_be(self.image, at, _MIB)) for at in (0, max(0, size - _MIB))]
        with blkid.sparse_copy(size, [*ends, *self.pieces.items()]) as copy:
            yield copy
