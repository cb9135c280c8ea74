"""A fixed VHD: the raw disk, followed by the footer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.containers.evidence_file import data_ranges, fill, let_go
from imgkit.errors import CorruptImage
from imgkit.image import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.vhd.footer import Footer
    from imgkit.image import Extent


class FixedVhd(Image):
    """The bytes before the footer. Takes over `file` and closes it."""

    format = "vhd"

    def __init__(self, file: EvidenceFile, footer: Footer) -> None:
        if footer.current_size != footer.end:
            raise CorruptImage(
                f"{file.path} is a fixed VHD of {footer.current_size} bytes by its footer, "
                f"and {footer.end} bytes lie before the footer",
                hint="something was cut out or put in: copy the image again from the source",
            )
        self._file = file
        self.path = file.path
        self.size = footer.current_size
        self.segments = (file.segment,)

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

    def close(self) -> None:
        """Close the file."""
        self._file.close()
