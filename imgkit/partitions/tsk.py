"""The Sleuth Kit's volume systems through pytsk3: the answer for apple, bsd and sun, a witness for dos and gpt.

It always reads through our Image: given a path it would open containers as raw bytes and join segments by itself.
Volume_Info is fast and survived 29,845 mutated tables without a crash: it runs in this process (docs/findings.md).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from imgkit.errors import MediaReadError
from imgkit.image import Extent
from imgkit.linux.signals import signals_held
from imgkit.partitions.table import Partition, Reading

if TYPE_CHECKING:
    from imgkit.image import Image

READER: Final = "the Sleuth Kit"
_ALLOCATED: Final = 1  # TSK_VS_PART_FLAG_ALLOC
# Our word for a scheme -> its number in TSK_VS_TYPE_ENUM, and back.
SCHEMES: Final = {"dos": 0x01, "bsd": 0x02, "sun": 0x04, "apple": 0x08, "gpt": 0x10}
_DETECT: Final = 0x00
_WORDS: Final = {number: word for word, number in SCHEMES.items()}
_LIMIT_BYTES: Final = 1 << 63
APPLE_FREE: Final = frozenset({"Apple_Free", "Apple_Extra", "Apple_Void"})
_LIMIT_ROWS: Final = 65536


def version() -> str:
    """The version of the SleuthKit inside pytsk3."""
    import pytsk3  # noqa: PLC0415 - 10 ms that only those pay who read a table

    return str(pytsk3.TSK_VERSION_STR)


def read_tsk(image: Image, scheme: str | None = None, *, sector_size: int | None = None) -> Reading:
    """Read the table as TSK sees it.

    Args:
        image: The media.
        scheme: One of SCHEMES, or None to let TSK find out.
        sector_size: Bytes of one LBA where it is not 512.

    Raises:
        MediaReadError: The media could not be read.
        KeyboardInterrupt: Raised by the media while TSK was reading; signals are held back meanwhile.
    """
    volume_type = SCHEMES[scheme] if scheme else _DETECT
    import pytsk3  # noqa: PLC0415 - as above

    # A handler that raises inside a callback raises into C, which turns that into a RuntimeError, or into nothing.
    with signals_held():
        media = _media_class()(image, sector_size or 512)
        try:
            volume = pytsk3.Volume_Info(media, volume_type)
            rows = [row for _, row in zip(range(_LIMIT_ROWS), volume, strict=False)]
        except (OSError, RuntimeError) as error:
            media.raise_pending()
            return Reading(READER, "none", refusal=_reason(error))
        media.raise_pending()
    word = _WORDS.get(int(volume.info.vstype), "none")
    block = int(volume.info.block_size)
    partitions = tuple(found for row in rows if (found := _partition(word, row, block)) is not None)
    return Reading(READER, word, partitions)


def _partition(scheme: str, row: Any, block: int) -> Partition | None:
    """An allocated row in bytes, or None for gaps, tables and numbers that cannot be meant."""
    start, length = int(row.start) * block, int(row.len) * block
    if int(row.flags) != _ALLOCATED or length <= 0 or start < 0 or start + length > _LIMIT_BYTES:
        return None
    words = bytes(row.desc or b"").split(b"\0", 1)[0].decode("utf-8", "replace")
    slot = max(int(row.slot_num), 0)
    name = words if scheme == "gpt" else ""
    kind, type_name = _type(scheme, words)
    if kind in APPLE_FREE:
        return None  # free space, whatever its status says
    return Partition(slot + 1, slot, Extent(start, length), kind, type_name, name)


def _type(scheme: str, words: str) -> tuple[str, str]:
    """TSK writes `Linux (0x83)` or `Apple_HFS`: the type, and its name where there are two things."""
    if scheme == "apple":
        return words, ""
    head, _, tail = words.rpartition(" (")
    head = "" if head == "Unknown Type" else head
    return (_short(tail.rstrip(")")), head) if tail.startswith("0x") else (words, "")


def _short(number: str) -> str:
    """`0x0083` -> `0x83`."""
    try:
        return f"0x{int(number, 16):02x}"
    except ValueError:
        return number


def _reason(error: Exception) -> str:
    """TSK's own words without the C++ source line in front."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.rsplit("Error opening Volume_Info: ", 1)[-1][:200]


@functools.cache
def _media_class() -> Any:
    """The subclass of pytsk3.Img_Info over our Image, made once pytsk3 is needed."""
    import pytsk3  # noqa: PLC0415 - as above

    class Media(pytsk3.Img_Info):  # type: ignore[misc]
        """Calls back into Image; what an exception would lose on its way through C is kept in `pending`."""

        def __init__(self, image: Image, sector_size: int) -> None:
            self.image = image
            self.pending: BaseException | None = None
            super().__init__(url="", type=pytsk3.TSK_IMG_TYPE_EXTERNAL, sector_size=sector_size)

        def get_size(self) -> int:
            return self.image.size

        def read(self, offset: int, length: int) -> bytes:
            try:
                data = self.image.read_at(offset, length)
            except (KeyboardInterrupt, MediaReadError) as error:
                self.pending = error
                raise
            if len(data) != length:
                raise OSError(f"{len(data)} of {length} bytes at {offset}")
            return data

        def raise_pending(self) -> None:
            """Raise what a callback raised: C turned it into a RuntimeError, or into nothing."""
            if self.pending is not None:
                raise self.pending

    return Media
