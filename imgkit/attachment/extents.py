"""What the kernel would clip or shift without a word is refused before anything is done.

A loop device counts in 512-byte sectors: an offset at or past the end gives 0 bytes, a limit past the end a shorter
device, a tail below 512 bytes is lost (seen on Linux 6.1, 6.12, 6.18).
"""

from __future__ import annotations

from imgkit.errors import AttachError
from imgkit.image import Extent

SECTOR = 512
_LARGEST_BLOCK = 4096  # a page; larger ones need 6.15 and are nobody's sector


def check_extent(extent: Extent | None, media_size: int, *, block_size: int = SECTOR) -> tuple[Extent, int]:
    """Return what a device of that block size will show of the media, and the bytes of a clipped tail.

    Only the whole media may have a tail that fills no block: a disk image of odd length is still to be looked at.

    Raises:
        AttachError: The kernel would show something else than was asked for; the hint has numbers that would do.
    """
    if block_size not in (512, 1024, 2048, 4096):
        raise AttachError(f"cannot attach with a block size of {block_size}", hint="512, 1024, 2048 or 4096")
    if extent is None or extent == Extent(0, media_size):
        return _whole_media(media_size, block_size)
    asked = f"cannot attach {extent.length} bytes at offset {extent.offset}"
    if extent.length == 0:
        raise AttachError(f"{asked}: the extent is empty")
    if extent.offset >= media_size:
        raise AttachError(f"{asked}: the media ends at {media_size}")
    if extent.end > media_size:
        raise AttachError(
            f"{asked}: that ends at {extent.end}, {extent.end - media_size} bytes past the media's end at {media_size}",
            hint=_range_hint(extent, media_size, block_size),
        )
    if extent.offset % SECTOR:
        raise AttachError(
            f"{asked}: a loop device starts on a multiple of {SECTOR} bytes",
            hint=_range_hint(extent, media_size, block_size),
        )
    if extent.length % block_size:
        raise AttachError(
            f"{asked}: the last {extent.length % block_size} bytes fill no block of {block_size} and would be missing",
            hint=_range_hint(extent, media_size, block_size),
        )
    return extent, 0


def _whole_media(size: int, block_size: int) -> tuple[Extent, int]:
    if size < block_size:
        raise AttachError(f"cannot attach media of {size} bytes: it fills no block of {block_size}")
    tail = size % block_size
    return Extent(0, size - tail), tail


def _range_hint(asked: Extent, media_size: int, block_size: int) -> str | None:
    """The smallest range that covers what was asked for; where the media ends before it, what there is of that."""
    offset = asked.offset - asked.offset % SECTOR
    covering = -(-(asked.end - offset) // block_size) * block_size
    length = min(covering, (media_size - offset) // block_size * block_size)
    if not length:
        return None
    what = "covers it" if offset + length >= asked.end else "is what a device can show of it"
    return f"--offset {offset} --length {length} {what}"


def tail_notice(tail: int, block_size: int) -> tuple[str, ...]:
    """What the examiner is told of bytes at the end that fill no block; nothing where there are none."""
    if not tail:
        return ()
    bytes_are = "byte is" if tail == 1 else f"{tail} bytes are"
    return (
        f"the last {bytes_are} not on the device: a block has {block_size} (imgkit hash and verify read all)",
    )
