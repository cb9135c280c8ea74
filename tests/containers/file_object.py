"""EvidenceFile as the file object that the libyal bindings read from: they never open evidence themselves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imgkit.containers.evidence_file import fill

if TYPE_CHECKING:
    from imgkit.containers.evidence_file import EvidenceFile


class FileObject:
    """Reads of one evidence file through an offset of its own; not for several threads at once.

    Args:
        file: Stays open as long as this is used; whoever opened it closes it.
    """

    def __init__(self, file: EvidenceFile) -> None:
        self._file = file
        self._offset = 0

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes from the offset on (all for -1), fewer only at the end of the file.

        Raises:
            MediaReadError: The kernel failed, or the file is shorter than at open.
        """
        there = max(0, self.get_size() - self._offset)
        buffer = bytearray(there if size < 0 else min(size, there))
        fill(self._file.fd, self._offset, memoryview(buffer), path=self._file.path, media_offset=0)
        self._offset += len(buffer)
        return bytes(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the offset; return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: self.get_size()}[whence]
        self._offset = max(0, start + offset)
        return self._offset

    def tell(self) -> int:
        """Return the offset."""
        return self._offset

    def get_offset(self) -> int:
        """As tell; the name that the bindings look for."""
        return self._offset

    def get_size(self) -> int:
        """Return the bytes of the file, as at open."""
        return self._file.stat.st_size
