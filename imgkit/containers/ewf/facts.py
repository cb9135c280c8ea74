"""Sections that say something of the media: https://github.com/libyal/libewf/blob/main/documentation/ (EWF specification).

Hash, Digest, Error2 and Session. What fails its Adler-32 is told and never used; the media does not need it.
"""

from __future__ import annotations

import struct
from zlib import adler32

_ERROR_HEADER, _ERROR_ENTRY = 520, struct.Struct("<II")
_SESSION_HEADER, _SESSION_ENTRY = 36, struct.Struct("<II24x")
_MOST_ENTRIES = 65536  # of acquisition errors or sessions that are shown
_AUDIO = 1


class Damaged(ValueError):
    """A section that cannot be used, and why."""


def parse_hash(body: bytes) -> dict[str, str]:
    """MD5 of a hash section.

    Raises:
        Damaged: It fails its Adler-32 or is cut short.
    """
    _check(body, 0, 32)
    return _stated(md5=body[:16])


def parse_digest(body: bytes) -> dict[str, str]:
    """MD5 and SHA-1 of a digest section; all zeros mean that it is not set.

    Raises:
        Damaged: It fails its Adler-32 or is cut short.
    """
    _check(body, 0, 76)
    return _stated(md5=body[:16], sha1=body[16:36])


def parse_errors(body: bytes) -> list[tuple[int, int]]:
    """(start sector, number of sectors) of every range that the acquiring program could not read.

    Raises:
        Damaged: It fails an Adler-32 or is cut short.
    """
    return _entries(body, _ERROR_HEADER, _ERROR_ENTRY)


def parse_sessions(body: bytes, sector_count: int, bytes_per_sector: int) -> list[dict[str, object]]:
    """The sessions and tracks of an optical disc, as found: where each starts and whether it is audio.

    Raises:
        Damaged: It fails an Adler-32 or is cut short.
    """
    entries = _entries(body, _SESSION_HEADER, _SESSION_ENTRY)
    ends = [start for _, start in entries[1:]] + [sector_count]
    return [
        {
            "number": number,
            "kind": "audio" if flags & _AUDIO else "data",
            "first_sector": start,
            "offset": start * bytes_per_sector,
            "length": max(0, end - start) * bytes_per_sector,
        }
        for number, ((flags, start), end) in enumerate(zip(entries, ends, strict=True), 1)
    ]


def _entries(body: bytes, header: int, entry: struct.Struct) -> list[tuple[int, int]]:
    """Entries behind a header whose first field counts them, each part with an Adler-32 of its own."""
    _check(body, 0, header - 4)
    (count,) = struct.unpack_from("<I", body)
    if count > _MOST_ENTRIES:
        raise Damaged(f"it states {count} entries, more than {_MOST_ENTRIES}")
    if count:
        _check(body, header, count * entry.size)
    return [
        (values[0], values[1]) for values in entry.iter_unpack(body[header : header + count * entry.size])
    ]


def _check(body: bytes, start: int, length: int) -> None:
    if len(body) < start + length + 4:
        raise Damaged(f"it is cut short: {len(body)} bytes")
    (stated,) = struct.unpack_from("<I", body, start + length)
    if adler32(body[start : start + length]) != stated:
        raise Damaged("it fails its Adler-32")


def _stated(**values: bytes) -> dict[str, str]:
    return {name: value.hex() for name, value in values.items() if any(value)}
