"""Which files make up a VMDK: what its descriptor says, and where each file of it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imgkit.containers.vmdk.descriptor import (
    MOST_BYTES,
    SECTOR,
    Descriptor,
    is_descriptor,
    parse_descriptor,
)
from imgkit.containers.vmdk.folder import descriptor_of, find_extent
from imgkit.containers.vmdk.header import read_header
from imgkit.errors import CorruptImage, UnknownFormat

if TYPE_CHECKING:
    from imgkit.containers.evidence_file import EvidenceFile


class Plan(NamedTuple):
    """What is to be opened.

    Attributes:
        path: Of the file that holds the descriptor.
        descriptor: What it says.
        paths: Every file, that one first.
        files: For each extent of the descriptor the index of its file, None where it has none.
        notices: What the examiner should know.
    """

    path: str
    descriptor: Descriptor
    paths: tuple[str, ...]
    files: tuple[int | None, ...]
    notices: tuple[str, ...]


def plan_image(file: EvidenceFile) -> Plan:
    """Read the descriptor that `file` is or holds, and find every file it lists.

    Raises:
        MissingSegment: One is not there.
        CorruptImage: The descriptor contradicts itself.
        UnknownFormat: A variant that is not read, or an extent without its descriptor.
    """
    if is_descriptor(file.read_at(0, SECTOR)):
        return _of_descriptor(file)
    header = read_header(file)
    raw = file.read_at(*header.descriptor) if header.descriptor else b""
    if not raw.strip(b"\0"):
        raise _is_extent(file.path)
    descriptor = parse_descriptor(raw, file.path)
    if len(descriptor.extents) != 1 or descriptor.extents[0].type != "SPARSE":
        lists = ", ".join(line.type for line in descriptor.extents[:4])
        raise CorruptImage(f"{file.path} is one sparse extent, and the descriptor inside of it lists {lists}")
    return Plan(file.path, descriptor, (file.path,), (0,), ())


def _is_extent(path: str) -> UnknownFormat:
    descriptor = descriptor_of(path)
    where = f"open the descriptor that lists it: {descriptor}"
    nowhere = "open its descriptor, a small text file (*.vmdk), which is not in this folder"
    return UnknownFormat(
        f"{path} is one extent of a VMDK, without the descriptor that says what the disk is made of",
        hint=where if descriptor else nowhere,
    )


def _of_descriptor(file: EvidenceFile) -> Plan:
    if file.stat.st_size > MOST_BYTES:
        raise CorruptImage(f"{file.path} begins as a VMDK descriptor and has {file.stat.st_size} bytes")
    descriptor = parse_descriptor(file.read_at(0, MOST_BYTES), file.path)
    paths = {file.path: 0}
    files: list[int | None] = []
    notices: list[str] = []
    for line in descriptor.extents:
        if line.name is None or line.type == "ZERO":
            files.append(None)
            continue
        found = find_extent(file.path, line.name)
        if found.path == file.path:
            raise CorruptImage(f"{file.path} lists itself as an extent, and it is a descriptor")
        if found.path in paths and line.type not in {"FLAT", "VMFS"}:
            raise CorruptImage(f"{file.path} lists the sparse extent {found.path} twice")
        files.append(paths.setdefault(found.path, len(paths)))
        notices += [found.notice] if found.notice else []
    return Plan(file.path, descriptor, tuple(paths), tuple(files), tuple(notices))
