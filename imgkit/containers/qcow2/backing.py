"""The backing file: what the image builds upon, and how its bytes are got.

A name that is no plain file is refused. Where the format of the backing file is not stated, its content decides, except
where that could be a guest's doing: see `_refuse_doubtful`.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from imgkit.errors import IncompleteChain, MediaReadError, UnknownFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.qcow2.clusters import Bad
    from imgkit.containers.qcow2.header import Header
    from imgkit.containers.reader import OpenParent
    from imgkit.image import Image

# QEMU's names of formats -> Image.format.
_FORMATS = {
    b"raw": "raw",
    b"file": "raw",
    b"host_device": "raw",
    b"qcow2": "qcow2",
    b"vmdk": "vmdk",
    b"vpc": "vhd",
    b"vhdx": "vhdx",
}
_PROTOCOL = re.compile(rb"[^/:]+:")  # QEMU's rule: a colon before the first slash
_SECTOR = 512
_ZEROS = memoryview(bytes(1 << 20))
_STATE_IT = "state it in a copy of the image: qemu-img rebase -u -F raw (or qcow2) -b BACKING COPY"


def open_backing(file: EvidenceFile, header: Header, open_parent: OpenParent) -> Image | None:
    """Open the backing file, or return None where the image has none.

    Raises:
        IncompleteChain: It is not there, no plain file, or its format cannot be known.
        UnknownFormat: It is stated to be of a format that is not read.
    """
    if header.backing_file is None:
        return None
    path = os.fsdecode(_plain_name(file.path, header.backing_file))
    if header.backing_format:
        stated = _FORMATS.get(header.backing_format)
        if stated is None:
            name = header.backing_format.decode("ascii", "backslashreplace")
            raise UnknownFormat(
                f"{file.path} builds upon {path}, a {name} it says, which imgkit does not read"
            )
        return open_parent(path, container=stated)
    parent = open_parent(path)
    try:
        _refuse_doubtful(file.path, header, parent)
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
        parent.close()
        raise
    return parent


def backing_notices(file: EvidenceFile, header: Header, parent: Image | None) -> tuple[str, ...]:
    """What an examiner has to know of how the backing file was found and what it covers."""
    if parent is None:
        return ()
    found = []
    folder = os.path.dirname(file.path)
    if os.path.commonpath((folder, parent.path)) != folder:
        found.append(
            f"{file.path} names a backing file outside of its own folder, {parent.path}: nothing in a qcow2 tells whether "
            "that is the file it was made with"
        )
    if not header.backing_format:
        found.append(
            f"{file.path} does not state the format of its backing file {parent.path}: "
            f"it is read as {parent.format}, as its content says"
        )
    if parent.size != header.size:
        size = f"{parent.size} bytes of media where {file.path} has {header.size}"
        effect = (
            "what it lacks reads as zeros"
            if parent.size < header.size
            else "the rest of it is not part of the media"
        )
        found.append(f"backing file {parent.path} has {size}: {effect}")
    return tuple(found)


def _plain_name(path: str, name: bytes) -> bytes:
    plain = name.removeprefix(b"file:")
    if (plain == name and _PROTOCOL.match(name)) or not plain:
        shown = name.decode("utf-8", "backslashreplace")
        raise IncompleteChain(
            f"{path} builds upon {shown}, which names no file that can be opened here",
            hint="get what it names as a file, and name that in a copy of the image: qemu-img rebase -u",
        )
    return plain


def _refuse_doubtful(path: str, header: Header, parent: Image) -> None:
    """A file as large as our media is a raw disk by its size, whatever a guest may have written to its start."""
    as_raw = (
        -(-parent.segments[0].size // _SECTOR) * _SECTOR
    )  # what QEMU makes an overlay of a raw file as large as
    if parent.format in {"raw", "split-raw"} or as_raw != header.size:
        return
    raise IncompleteChain(
        f"{path} does not state the format of its backing file {parent.path}, which looks like {parent.format} "
        "and has exactly the size of a raw disk for it: a guest can have written that to a raw disk",
        hint=_STATE_IT,
    )


def read_parent(parent: Image, offset: int, buffer: memoryview) -> list[Bad]:
    """Fill the buffer with the parent's media, zeros beyond its end; return every range that could not be read.

    Raises:
        MediaReadError: The kernel failed on a plain read: the caller narrows it.
    """
    there = max(0, min(len(buffer), parent.size - offset))
    clear(buffer[there:])
    bad: list[Bad] = []
    done = 0
    while done < there:
        try:
            got = parent.read_into(offset + done, buffer[done:there])
        except MediaReadError as error:
            if error.ranges:
                return bad + _clipped(error.ranges, offset, offset + there)
            if error.errno is not None:
                raise
            start, stop = _named(error, offset + done, offset + there)
            if start > offset + done:  # nothing is promised of what lies before
                bad += read_parent(parent, offset + done, buffer[done : start - offset])
            bad.append((start, stop - start, error.message))
            done = stop - offset
            continue
        if done + got < there:
            bad.append(
                (offset + done + got, there - done - got, f"{parent.path} ends before its stated size")
            )
        return bad
    return bad


def _clipped(ranges: Sequence[Bad], offset: int, end: int) -> list[Bad]:
    """A parent may name all of a chunk; what lies beside the range may be ours, and good."""
    parts = ((max(start, offset), min(start + length, end), reason) for start, length, reason in ranges)
    return [(start, stop - start, reason) for start, stop, reason in parts if start < stop]


def _named(error: MediaReadError, offset: int, end: int) -> tuple[int, int]:
    """The [start, stop) of [offset, end) that an error names; all of it where it names none of it."""
    start, stop = max(error.offset, offset), min(error.offset + error.length, end)
    return (start, stop) if start < stop else (offset, end)


def clear(buffer: memoryview) -> None:
    """Fill with zeros, without an allocation as large as the buffer."""
    for at in range(0, len(buffer), len(_ZEROS)):
        part = buffer[at : at + len(_ZEROS)]
        part[:] = _ZEROS[: len(part)]
