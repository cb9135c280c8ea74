"""E01 (EWF version 1: EnCase, FTK Imager, SMART, libewf, guymager), read by our own reader.

https://github.com/libyal/libewf/blob/main/documentation/Expert%20Witness%20Compression%20Format%20(EWF).asciidoc
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.containers.ewf.image import EwfImage
from imgkit.containers.ewf.names import segment_paths

if TYPE_CHECKING:
    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.reader import OpenParent
    from imgkit.image import Image

__all__ = ["EwfImage", "open_container"]


def open_container(file: EvidenceFile, *, sector_size: int | None, open_parent: OpenParent) -> Image:  # noqa: ARG001  (no parents)
    """Open the set that `file` is a segment of; see Reader."""
    found = segment_paths(file.path)
    image = EwfImage(file.path, found.paths, notices=found.notices, sector_size=sector_size)
    file.close()
    return image
