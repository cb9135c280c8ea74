"""CRC-32C (Castagnoli) as [MS-VHDX] uses it for headers, region tables and log entries: the reflected polynomial 0x82F63B78."""

from __future__ import annotations

from functools import lru_cache

_POLYNOMIAL = 0x82F63B78


def _row(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(_row(byte) for byte in range(256))


@lru_cache(maxsize=4)
def crc32c(data: bytes) -> int:
    """The checksum of `data`; remembered, since the two region tables of a sound file are the same 64 KiB."""
    crc = 0xFFFFFFFF
    table = _TABLE
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
