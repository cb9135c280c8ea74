"""Volume, disk and data sections: https://github.com/libyal/libewf/blob/main/documentation/ (EWF specification).

They state how the media is cut: 94 bytes in SMART's layout, 1052 in EnCase's. `data` repeats it in later segments.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from zlib import adler32

from imgkit.errors import CorruptImage

LARGEST_CHUNK = 32 << 20  # EnCase offers 32768 sectors of 512 bytes at most: 16 MiB
_LARGEST_SECTOR = 1 << 16
# media type, chunk count, sectors per chunk, bytes per sector, sector count, media flags, compression level,
# error granularity, set identifier
_ENCASE = struct.Struct("<B3xIIIQ12xB15xB3xI4x16s963x5sI")
_SMART = struct.Struct("<4xIIII20x45x5sI")
_MEDIA_TYPES = {0x00: "removable", 0x01: "fixed", 0x03: "optical", 0x0E: "logical", 0x10: "memory"}
_LEVELS = {0: "none", 1: "fast", 2: "best"}


@dataclass(frozen=True, slots=True)
class Volume:
    """How the media is cut into chunks, with the specification's names.

    Attributes:
        variant: `EnCase` or `SMART`: whose layout.
        chunk_count: Number of chunks.
        sectors_per_chunk: Sectors in each chunk but the last.
        bytes_per_sector: Bytes.
        sector_count: Sectors of the media.
        media_type: EnCase's number, or None (SMART states none).
        media_flags: EnCase's bits: 1 image, 2 physical, 4 FastBloc, 8 Tableau.
        compression_level: EnCase's number, or None.
        error_granularity: Sectors that were given up for one bad one, or None.
        set_identifier: GUID of the set; zeros: not set.
    """

    variant: str
    chunk_count: int
    sectors_per_chunk: int
    bytes_per_sector: int
    sector_count: int
    media_type: int | None = None
    media_flags: int = 0
    compression_level: int | None = None
    error_granularity: int | None = None
    set_identifier: bytes = bytes(16)

    @property
    def chunk_size(self) -> int:
        """Bytes of every chunk but the last."""
        return self.sectors_per_chunk * self.bytes_per_sector

    @property
    def media_size(self) -> int:
        """Bytes of the media."""
        return self.sector_count * self.bytes_per_sector

    @property
    def chunks_needed(self) -> int:
        """Chunks that the sectors fill."""
        return -(-self.sector_count // self.sectors_per_chunk)

    @property
    def identifier(self) -> str | None:
        """The set identifier as a GUID is written; None where it is not set."""
        return str(uuid.UUID(bytes_le=self.set_identifier)) if any(self.set_identifier) else None

    def facts(self) -> dict[str, object]:
        """What `info` shows of it; plain JSON values."""
        facts: dict[str, object] = {
            "variant": self.variant,
            "chunk_size": self.chunk_size,
            "chunk_count": self.chunks_needed,
            "bytes_per_sector": self.bytes_per_sector,
            "sector_count": self.sector_count,
        }
        if self.media_type is None:
            return facts
        return facts | {
            "compression_level": _LEVELS.get(self.compression_level or 0, str(self.compression_level)),
            "media_type": _MEDIA_TYPES.get(self.media_type, f"{self.media_type:#x}"),
            "physical": bool(self.media_flags & 2),
            "write_blocker": {4: "FastBloc", 8: "Tableau", 12: "FastBloc, Tableau"}.get(
                self.media_flags & 12
            ),
            "error_granularity": self.error_granularity,
            "set_identifier": self.identifier,
        }


def parse_volume(body: bytes) -> Volume | str:
    """Read what follows the descriptor; return what is wrong with it where it cannot be trusted."""
    if len(body) >= _ENCASE.size:
        layout, parse = _ENCASE, _encase
    elif len(body) >= _SMART.size:
        layout, parse = _SMART, _smart
    else:
        return f"it has {len(body)} bytes, too few"
    raw = body[: layout.size]
    if adler32(raw[:-4]) != struct.unpack_from("<I", raw, layout.size - 4)[0]:
        return "it fails its Adler-32"
    return parse(raw)


def _encase(raw: bytes) -> Volume:
    kind, chunks, per_chunk, per_sector, sectors, flags, level, granularity, guid, _, _ = _ENCASE.unpack(raw)
    return Volume("EnCase", chunks, per_chunk, per_sector, sectors, kind, flags, level, granularity, guid)


def _smart(raw: bytes) -> Volume:
    chunks, per_chunk, per_sector, sectors, signature, _ = _SMART.unpack(raw)
    return Volume("SMART" if signature == b"SMART" else "EWF", chunks, per_chunk, per_sector, sectors)


def check_volume(volume: Volume, path: str) -> None:
    """Refuse a geometry that cannot be.

    Raises:
        CorruptImage: No sectors, or sectors or chunks of a size that no writer makes.
    """
    if not 1 <= volume.bytes_per_sector <= _LARGEST_SECTOR or volume.sectors_per_chunk < 1:
        raise CorruptImage(
            f"{path} states {volume.sectors_per_chunk} sectors of {volume.bytes_per_sector} bytes in a chunk"
        )
    if volume.chunk_size > LARGEST_CHUNK:
        raise CorruptImage(
            f"{path} states chunks of {volume.chunk_size} bytes; imgkit reads chunks of up to {LARGEST_CHUNK}",
            hint="make a raw copy with ewfexport, and open that",
        )
    if volume.sector_count < 1 or volume.media_size >= 1 << 63:
        raise CorruptImage(f"{path} states a media of {volume.sector_count} sectors")


def has_tail(volume: Volume, chunks: int) -> bool:
    """One chunk more than the whole sectors fill, and they end with a chunk: the rest of a file may be in it."""
    full = volume.sector_count % volume.sectors_per_chunk == 0
    return full and chunks == volume.chunk_count == volume.chunks_needed + 1


def other_chunks(volume: Volume, path: str, chunks: int) -> CorruptImage:
    """The error for tables that have other than the chunks which the sectors fill."""
    few = "the image is incomplete or was not finished: copy the set again from the source"
    many = "it holds more than it states, so nothing says which chunks are its media: copy the set again from the source"
    return CorruptImage(
        f"{path}: the tables of the set have {chunks} chunks, its media of {volume.sector_count} sectors "
        f"needs {volume.chunks_needed}",
        hint=few if chunks < volume.chunks_needed else many,
    )


def difference(volume: Volume, other: Volume) -> tuple[str, object, object] | None:
    """(name, value of `other`, value of `volume`) of the first field in which they differ; zeros state nothing."""
    if other.set_identifier != volume.set_identifier and other.identifier and volume.identifier:
        return "set identifier", other.identifier, volume.identifier
    for name in ("chunk_count", "sectors_per_chunk", "bytes_per_sector", "sector_count"):
        theirs, ours = getattr(other, name), getattr(volume, name)
        if theirs and theirs != ours:
            return name.replace("_", " "), theirs, ours
    return None
