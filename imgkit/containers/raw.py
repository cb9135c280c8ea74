"""Raw: the file is the media, byte for byte. It comes last in probe order, and is announced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.containers.evidence_file import EvidenceFile, data_ranges, fill, let_go
from imgkit.image import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.image import Extent


class RawImage(Image):
    """A single file whose bytes are the media. Takes over `file` and closes it."""

    format = "raw"

    def __init__(self, file: EvidenceFile, *, sector_size: int | None = None) -> None:
        self._file = file
        self.path = file.path
        self.size = file.stat.st_size
        self.segments = (file.segment,)
        self.sector_size = sector_size
        self.sector_size_source = "stated by the user" if sector_size else None
        self.metadata = {"atime_may_change": file.atime_may_change}

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """See Image.read_into."""
        wanted = buffer[: max(0, self.size - offset)]
        fill(self._file.fd, offset, wanted, path=self.path, media_offset=offset)
        return len(wanted)

    def data_extents(self) -> Iterator[Extent]:
        """See Image.data_extents; by SEEK_DATA and SEEK_HOLE."""
        return data_ranges(self._file.fd, self.size, path=self.path, media_offset=0)

    def forget(self, offset: int, length: int) -> None:
        """See Image.forget."""
        let_go(self._file.fd, (offset, min(offset + length, self.size)))

    def backing_fileno(self) -> int | None:
        """The descriptor of the file."""
        return self._file.fd

    def close(self) -> None:
        """Close the file."""
        self._file.close()
