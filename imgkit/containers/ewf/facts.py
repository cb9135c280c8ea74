"""Sections that say something of the media: https://github.com/libyal/libewf/blob/main/documentation/ (EWF specification).

Hash, Digest, xhash, Error2 and Session. What fails its Adler-32 is told and never used; the media does not need it.
"""

from __future__ import annotations

import re
import struct
import zlib
from zlib import adler32

_ERROR_HEADER, _ERROR_ENTRY = 520, struct.Struct("<II")
_SESSION_HEADER, _SESSION_ENTRY = 36, struct.Struct("<II24x")
_MOST_ENTRIES = 65536  # of acquisition errors or sessions that are shown
_AUDIO = 1
_LARGEST_XHASH = 64 << 10  # bytes of text
_XHASH = re.compile(rb"<(MD5|SHA1|SHA256)>\s*([0-9A-Fa-f]+)\s*</\1>", re.IGNORECASE)
_LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64}  # hex digits


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


def parse_xhash(body: bytes) -> dict[str, str]:
    """Digests of an xhash section: flat elements of an XML text, compressed; the only place of EWF-X for a SHA-1.

    Raises:
        Damaged: It cannot be inflated (zlib's checksum guards it), is too long, or states something that is no digest.
    """
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(body, _LARGEST_XHASH)
    except zlib.error as error:
        raise Damaged(f"it cannot be inflated: {error}") from error
    if not inflater.eof:
        raise Damaged(f"it is cut short or holds more than {_LARGEST_XHASH} bytes of text")
    found = {name.decode().lower(): value.decode().lower() for name, value in _XHASH.findall(text)}
    for name, value in found.items():
        if len(value) != _LENGTHS[name]:
            raise Damaged(f"it states a {name} of {len(value)} digits")
    return {name: value for name, value in found.items() if value.strip("0")}


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
