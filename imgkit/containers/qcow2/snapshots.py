"""The snapshot table: what internal snapshots a qcow2 holds; the media is the active state, never one of them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from imgkit.containers.qcow2.header import damaged, read_exactly

if TYPE_CHECKING:
    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.qcow2.header import Header

_ENTRY = struct.Struct(">QIHHIIQII")
_LARGEST_EXTRA = 1024  # bytes; QEMU's limit too
_MOST_LISTED = 1000
_LONGEST_NAME = 1024  # bytes that are shown of one; QEMU writes 255 at most


def read_snapshots(file: EvidenceFile, header: Header) -> tuple[dict[str, object], ...]:
    """The first 1000 snapshots: id, name, date (epoch), vm_state_size, disk_size (None where version 2 left it out).

    Raises:
        CorruptImage: The table runs out of the file, or an entry cannot be meant.
    """
    found = []
    at = header.snapshots_offset
    for number in range(min(header.nb_snapshots, _MOST_LISTED)):
        entry, length = _read_entry(file, at, number)
        found.append(entry)
        at += -(-length // 8) * 8
    return tuple(found)


def _read_entry(file: EvidenceFile, at: int, number: int) -> tuple[dict[str, object], int]:
    """One entry, and its length."""
    fixed = _ENTRY.unpack(_read(file, at, _ENTRY.size, number))
    id_size, name_size, date, vm_state_size, extra_size = fixed[2], fixed[3], fixed[4], fixed[7], fixed[8]
    if extra_size > _LARGEST_EXTRA:
        raise damaged(file.path, f"entry {number} of its snapshot table has {extra_size} bytes of extra data")
    at += _ENTRY.size
    rest = _read(file, at, extra_size, number)
    names = at + extra_size, at + extra_size + id_size
    _read(file, names[1] + max(name_size - 1, 0), min(name_size, 1), number)  # all of it is there
    if extra_size >= 8:
        (vm_state_size,) = struct.unpack_from(">Q", rest)
    disk_size = struct.unpack_from(">Q", rest, 8)[0] if extra_size >= 16 else None
    entry: dict[str, object] = {
        "id": _text(file, names[0], id_size, number),
        "name": _text(file, names[1], name_size, number),
        "date": date,
        "vm_state_size": vm_state_size,
        "disk_size": disk_size,
    }
    return entry, _ENTRY.size + extra_size + id_size + name_size


def _text(file: EvidenceFile, at: int, length: int, number: int) -> str:
    return _read(file, at, min(length, _LONGEST_NAME), number).decode("utf-8", "backslashreplace")


def _read(file: EvidenceFile, at: int, length: int, number: int) -> bytes:
    if at + length > file.stat.st_size:
        raise damaged(file.path, f"entry {number} of its snapshot table runs out of the file")
    return read_exactly(file, at, length)
