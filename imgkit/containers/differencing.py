"""The parent of a differencing VHD or VHDX: Windows paths become files here, and a chain becomes facts."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from imgkit.errors import IncompleteChain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.reader import OpenParent
    from imgkit.image import Image, Segment

_ABSOLUTE = re.compile(r"[A-Za-z]:|[/\\]|file:")
_HINT = "put a copy of the parent beside it, under the name that it had; an image is read with its whole chain or not at all"


def open_first_parent(
    file: EvidenceFile, stated: Sequence[str], open_parent: OpenParent, format_name: str
) -> Image:
    """Open the first file there is of those that `file` says it builds upon.

    A path that is relative on Windows is looked up as it stands; of any path, the name beside the child. Case does not
    count, as it does not on Windows.

    Args:
        file: The child.
        stated: Windows paths, in the order in which the child wants them tried.
        open_parent: See OpenParent.
        format_name: What the parent has to be (`Image.format`).

    Raises:
        IncompleteChain: None of them is there, or as OpenParent.
    """
    folder = os.path.dirname(file.path)
    for candidate in _candidates(stated):
        found = _present(folder, candidate)
        if found is not None:
            return open_parent(found, container=format_name)
    names = " or ".join(repr(name) for name in dict.fromkeys(stated)) or "a parent that it does not name"
    raise IncompleteChain(f"{file.path} builds upon {names}, which is not there", hint=_HINT)


def not_its_parent(file: EvidenceFile, parent: Image, wanted: str, found: str) -> IncompleteChain:
    """The error where a parent has another identifier than the child states; the parent is closed."""
    parent.close()
    return IncompleteChain(
        f"{file.path} builds upon {wanted}, and {parent.path} is {found}: it is another image, or was changed since",
        hint="find the parent as it was when the child was made; with any other the disk would be made up of both",
    )


def chain_of(parent: Image, identifier: str) -> tuple[dict[str, object], ...]:
    """What `Image.metadata` says of the parents, nearest first."""
    nearest: dict[str, object] = {
        "path": parent.path,
        "format": parent.format,
        "size": parent.size,
        "identifier": identifier,
    }
    further = parent.metadata.get("chain", ())
    return (nearest, *further) if isinstance(further, tuple) else (nearest,)


def segments_with(file: EvidenceFile, parent: Image | None) -> tuple[Segment, ...]:
    """The child's file, then every file of its parents."""
    if parent is None:
        return (file.segment,)
    return (file.segment, *(replace(segment, role="parent") for segment in parent.segments))


def notices_of(image: Image) -> tuple[str, ...]:
    """The notices of an image, as its metadata has them."""
    found = image.metadata.get("notices", ())
    return found if isinstance(found, tuple) else ()


def text(metadata: Mapping[str, object], *keys: str) -> str:
    """A text of nested metadata, empty where there is none."""
    value: object = metadata
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def _candidates(stated: Sequence[str]) -> Iterator[str]:
    """Paths relative to the child's folder: those that are so on Windows first, then every name beside the child."""
    paths = [path.split("\0")[0].strip() for path in stated]
    for path in paths:
        if path and not _ABSOLUTE.match(path):
            yield path.replace("\\", "/")
    for path in paths:
        name = re.split(r"[/\\]", path)[-1]
        if name not in {"", ".", ".."}:
            yield name


def _present(folder: str, path: str) -> str | None:
    """The path as the file is really called, or None."""
    where = os.path.join(folder, path)
    if os.path.lexists(where):
        return None if os.path.isdir(where) else path
    inner, name = os.path.split(path)
    try:
        names = sorted(os.listdir(os.path.dirname(where)))
    except (OSError, ValueError):
        return None
    found = next((other for other in names if other.casefold() == name.casefold()), None)
    return None if found is None else os.path.join(inner, found)
