"""qcow2, versions 2 and 3, by a reader of our own.

Specification: https://www.qemu.org/docs/master/interop/qcow2.html. What is read, refused and checked:
docs/containers/qcow2.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.containers.qcow2.backing import open_backing
from imgkit.containers.qcow2.header import read_header
from imgkit.containers.qcow2.image import Qcow2Image
from imgkit.containers.qcow2.snapshots import read_snapshots

if TYPE_CHECKING:
    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.reader import OpenParent

__all__ = ["Qcow2Image", "open_container"]


def open_container(file: EvidenceFile, *, sector_size: int | None, open_parent: OpenParent) -> Qcow2Image:
    """Open a qcow2 file and the chain it builds upon; see Reader."""
    header = read_header(file)
    snapshots = read_snapshots(file, header)
    parent = open_backing(file, header, open_parent)
    try:
        return Qcow2Image(file, header, parent, snapshots=snapshots, sector_size=sector_size)
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
        if parent is not None:
            parent.close()
        raise
