"""A block device, such as a disk behind a write blocker: the device is the media."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imgkit.containers.evidence_file import EvidenceFile, data_ranges, fill, fill_past_cache, let_go
from imgkit.errors import ImageError
from imgkit.image import Image, Segment
from imgkit.linux.blockdev import blkgetdiskseq, blkgetsize64, blkroget, blksszget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.image import Extent

# Below /sys/dev/block/MAJOR:MINOR; a partition's device is its parent's (`../`).
_IDENTITY = {
    "model": ("device/model", "../device/model"),
    "serial": ("device/serial", "../device/serial"),
    "wwid": ("device/wwid", "wwid", "../device/wwid", "../wwid"),
}
_LONGEST_IDENTITY = 256  # bytes; a device states these and may state anything


class BlockDeviceImage(Image):
    """A block device. Takes over `file` and closes it."""

    format = "block-device"

    def __init__(self, file: EvidenceFile, *, sector_size: int | None = None) -> None:
        self._file = file
        self.path = file.path
        try:
            self.size = blkgetsize64(file.fd)
            self.sector_size = sector_size or blksszget(file.fd)
            self.metadata = {"atime_may_change": file.atime_may_change, **_facts(file)}
        except OSError as error:
            raise ImageError(f"cannot ask {file.path} for its size: {error.strerror}") from error
        self.sector_size_source = "stated by the user" if sector_size else "BLKSSZGET"
        self.segments = (Segment(file.path, self.size, file.stat),)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """See Image.read_into."""
        wanted = buffer[: max(0, self.size - offset)]
        fill(self._file.fd, offset, wanted, path=self.path, media_offset=offset)
        return len(wanted)

    def read_again(self, offset: int, buffer: memoryview) -> int:
        """See Image.read_again; past the page cache."""
        wanted = buffer[: max(0, self.size - offset)]
        fill_past_cache(self._file, offset, wanted, media_offset=offset)
        return len(wanted)

    def data_extents(self) -> Iterator[Extent]:
        """The whole device: it does not tell data from holes."""
        return data_ranges(self._file.fd, self.size, path=self.path, media_offset=0)

    def forget(self, offset: int, length: int) -> None:
        """See Image.forget."""
        let_go(self._file.fd, (offset, min(offset + length, self.size)))

    def backing_fileno(self) -> int | None:
        """The descriptor of the device."""
        return self._file.fd

    def close(self) -> None:
        """Close the device."""
        self._file.close()


def _facts(file: EvidenceFile) -> dict[str, object]:
    """What tells this device from another: never its name, /dev/sdb is somebody else tomorrow."""
    facts: dict[str, object] = {"read_only": blkroget(file.fd)}
    try:
        facts["diskseq"] = blkgetdiskseq(file.fd)
    except OSError:
        facts["diskseq"] = None  # before Linux 5.15
    number = file.stat.st_rdev
    base = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"
    for name, places in _IDENTITY.items():
        if (text := _first_text(base, places)) is not None:
            facts[name] = text
    return facts


def _first_text(base: str, places: tuple[str, ...]) -> str | None:
    for place in places:
        try:
            with open(f"{base}/{place}", "rb") as file:
                text = file.read(_LONGEST_IDENTITY)
        except OSError:
            continue  # this kind of device has no such attribute
        return text.decode("ascii", "backslashreplace").strip()
    return None
