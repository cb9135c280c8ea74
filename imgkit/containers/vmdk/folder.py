"""Which files the names in a descriptor mean: none outside its folder, whatever the descriptor says.

A descriptor is evidence, and whoever wrote it chose the names: `/etc/shadow` or `/dev/sda` must not become media. A name
below the folder is taken as it stands. Of any other (absolute, with `..`, a Windows path) only the last part counts, and
it is looked for in the folder: that is where copies of a virtual machine's files end up, and the examiner is told.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

from imgkit.containers.evidence_file import open_evidence
from imgkit.containers.vmdk.descriptor import MOST_BYTES, SECTOR, is_descriptor, parse_descriptor
from imgkit.errors import ImgkitError, MissingSegment

if TYPE_CHECKING:
    from imgkit.containers.evidence_file import EvidenceFile

_MOST_NEIGHBOURS = 500  # *.vmdk files of a folder that are looked into for the descriptor of an extent
_LONGEST_NAME = 4096
_COPY_HINT = "an image is read with all its files or not at all: copy them into one folder, named as the descriptor says"


class Found(NamedTuple):
    """A file for a name, and what the examiner should know of the way to it (or an empty string)."""

    path: str
    notice: str


def find_extent(descriptor_path: str, name: str) -> Found:
    """The regular file that an extent line of a descriptor names.

    Raises:
        MissingSegment: It is not there, or no regular file.
    """
    folder = os.path.dirname(descriptor_path)
    found = find_in_folder(folder, name)
    if found is None:
        where = os.path.join(folder, _last_part(name))
        raise MissingSegment(
            f"{descriptor_path} needs {name[:300]}, and {where[:600]} is not there", hint=_COPY_HINT
        )
    if not _may_be_regular(found.path):
        raise MissingSegment(
            f"{found.path} stands where an extent of {descriptor_path} should be and is no regular file"
        )
    return found


def find_in_folder(folder: str, name: str) -> Found | None:
    """The file in `folder` that `name` means, or None."""
    if "\0" in name or len(name) > _LONGEST_NAME:
        return None
    if _stays_below(name) and os.path.lexists(path := os.path.join(folder, name)):
        return Found(path, "")
    last = _last_part(name)
    if last in {"", ".", ".."}:
        return None
    path = os.path.join(folder, last)
    if os.path.lexists(path):
        return Found(path, f"{path} is taken for {name}, whose folder is not this one")
    alike = [entry for entry in _names(folder) if entry.casefold() == last.casefold()]
    if len(alike) == 1:
        path = os.path.join(folder, alike[0])
        return Found(path, f"{path} is taken for {name}: they differ in capitals")
    return None


def descriptor_of(path: str) -> str | None:
    """The descriptor in the folder of `path` that lists it as an extent, or None."""
    folder, name = os.path.split(path)
    neighbours = [entry for entry in _names(folder) if entry.lower().endswith(".vmdk") and entry != name]
    for entry in sorted(neighbours)[:_MOST_NEIGHBOURS]:
        candidate = os.path.join(folder, entry)
        if name in _listed(candidate):
            return candidate
    return None


def _listed(path: str) -> set[str]:
    """The last part of each file name that a descriptor lists; nothing where the file is no readable descriptor."""
    with suppress(ImgkitError, OSError):
        if not stat.S_ISREG(os.stat(path).st_mode):
            return set()
        with closing(open_evidence(path)) as file:
            raw = _descriptor_text(file.read_at(0, SECTOR), file)
            return {_last_part(line.name) for line in parse_descriptor(raw, path).extents if line.name}
    return set()


def _descriptor_text(head: bytes, file: EvidenceFile) -> bytes:
    """The descriptor that the file is; one inside a sparse extent lists only that extent itself."""
    return file.read_at(0, MOST_BYTES) if is_descriptor(head) else b""


def _may_be_regular(path: str) -> bool:
    """Whether it is a regular file; one that may not be looked at is, until its opening says why not."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except PermissionError:
        return True
    except OSError:
        return False  # a link to nothing, or in a circle


def _stays_below(name: str) -> bool:
    return not os.path.isabs(name) and ".." not in name.split("/") and name != ""


def _last_part(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder or ".")
    except OSError:
        return []  # a folder may be entered and not listed: then only the exact name is found
