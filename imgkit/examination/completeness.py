"""Which files make up an image, and what was checked of that before a byte of the media was served."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from imgkit.custody.record import printable

if TYPE_CHECKING:
    from imgkit.image import Image

Record = dict[str, Any]

# Image.format -> what its reader checks at open; an image that fails a check does not open.
CHECKED: dict[str, tuple[str, ...]] = {
    "raw": ("the bytes of the file are the media; nothing in it says how many there should be",),
    "split-raw": ("numbered without a gap, of one size but the last",),
    "block-device": ("the size that the kernel states",),
    "ewf": (
        "segment numbers from 1 to the one that ends the set",
        "section chain with its checksums, number of chunks against the number of sectors",
    ),
    "qcow2": (
        "header and extensions, tables within the file",
        "the last cluster in use, by its reference counts",
    ),
    "vmdk": ("every extent of the descriptor there and long enough",),
    "vhd": ("footer and header checksums, block table and its blocks within the file",),
    "vhdx": (
        "header, region table and metadata checksums, no log to replay, block table and its blocks within the file",
    ),
}
# Image.format -> what is checked of the images it builds upon.
CHAIN_CHECKED: dict[str, str] = {
    "qcow2": "every image of the chain there (qcow2 has no mark that tells whether it is the one meant)",
    "vmdk": "every image of the chain there, with the content identifier that its child states",
    "vhd": "every image of the chain there, with the identifier that its child states",
    "vhdx": "every image of the chain there, with the identifier that its child states",
}


def completeness(image: Image) -> Record:
    """`completeness` of a document: files by role, what was checked, and all of it in a sentence."""
    roles = [segment.role for segment in image.segments]
    counts = {role: roles.count(role) for role in ("segment", "descriptor", "parent")}
    chain = [CHAIN_CHECKED[image.format]] if counts["parent"] and image.format in CHAIN_CHECKED else []
    return {
        "files": len(roles),
        "segments": counts["segment"],
        "descriptors": counts["descriptor"],
        "parents": counts["parent"],
        "checked": [*CHECKED.get(image.format, ()), *_both_ends(image), *_one_set(image), *chain],
        "cut_short": [printable(path) for path in image.cut_short],
        "text": _cut_short(image) or _sentence(image, counts),
    }


def _both_ends(image: Image) -> list[str]:
    """What the numbers of a split raw set leave open: some programs begin with 000, others with 001."""
    if image.format != "split-raw":
        return []
    before = "a part numbered 0 before the first or " if image.segments[0].path.endswith("1") else ""
    return [f"whether {before}parts after the last are missing cannot be told"]


def _one_set(image: Image) -> list[str]:
    """What says that the segments of an E01 are of one acquisition; many programs write no identifier."""
    container = image.metadata.get("container")
    if image.format != "ewf" or not isinstance(container, dict) or container["segment_count"] == 1:
        return []
    segments, identified = container["segment_count"], container["segments_with_identifier"]
    if identified == segments:
        return ["one set identifier in every segment"]
    if identified:
        return [f"one set identifier in {identified} of {segments} segments, none in the others"]
    return ["no set identifier is stated: only a digest of the media tells that all are of one acquisition"]


def _cut_short(image: Image) -> str:
    paths = image.cut_short
    if not paths:
        return ""
    there = (
        "what it says it holds is not all there"
        if len(paths) == 1
        else "what they say they hold is not all there"
    )
    return f"cut short: {', '.join(os.path.basename(path) for path in paths)}: {there}"


def _sentence(image: Image, counts: dict[str, int]) -> str:
    if image.format == "block-device":
        return "a device, as it is now"
    number = counts["segment"]
    files = "1 file, whole" if number == 1 else f"{number} of {number} segments, in order, whole"
    if image.format == "raw":
        files = "1 file, as it lies"
    elif image.format == "split-raw":
        files = f"{number} segments, in order"
    more = [
        f"{count} {word}{'s' if count > 1 else ''}"
        for word, count in (("descriptor", counts["descriptor"]), ("file", counts["parent"]))
        if count
    ]
    if counts["parent"]:
        more[-1] += " of the chain below"
    return files + "".join(f", with {text}" for text in more)
