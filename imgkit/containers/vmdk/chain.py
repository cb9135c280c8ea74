"""The parent that a snapshot or linked clone builds upon: found, of the very state that the child was made from, or refused."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from imgkit.containers.vmdk.folder import find_in_folder
from imgkit.containers.vmdk.image import VmdkImage
from imgkit.errors import IncompleteChain

if TYPE_CHECKING:
    from imgkit.containers.reader import OpenParent
    from imgkit.containers.vmdk.descriptor import Descriptor
    from imgkit.image import Image

_HINT = "copy the parent beside it; an image is read with its whole chain or not at all"


def open_parent_of(
    path: str, descriptor: Descriptor, open_parent: OpenParent
) -> tuple[Image | None, tuple[dict[str, object], ...]]:
    """Open the parent that the descriptor of `path` names; and say what the chain is, nearest first.

    Raises:
        IncompleteChain: It is absent, no VMDK, or was changed since the child was made.
    """
    if descriptor.parent_id is None:
        return None, ()
    if not descriptor.parent_name:
        raise IncompleteChain(
            f"{path} builds upon a parent with the CID {descriptor.parent_id:08x} and does not name it"
        )
    parent = open_parent(_find(path, descriptor.parent_name))
    try:
        _check(path, descriptor, parent)
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
        parent.close()
        raise
    fact = {
        "path": parent.path,
        "format": parent.format,
        "size": parent.size,
        "content_id": f"{descriptor.parent_id:08x}",
    }
    above = parent.metadata.get("chain", ())
    return parent, (fact, *(above if isinstance(above, tuple) else ()))


def _find(path: str, name: str) -> str:
    """Where the parent is: as named, or in the child's folder; only ever a regular file.

    A linked clone names its parent by an absolute path, so that is followed; what it leads to has to be a VMDK whose CID
    is the one that the child states, so that no other file of this host becomes media.
    """
    folder = os.path.dirname(path)
    stated = os.path.join(folder, name) if "\0" not in name else folder
    if _is_file(stated):
        return stated
    found = find_in_folder(folder, name)
    if found is not None and _is_file(found.path):
        return found.path
    raise IncompleteChain(f"{path} builds upon {name[:300]}, which is not there", hint=_HINT)


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _check(path: str, descriptor: Descriptor, parent: Image) -> None:
    if not isinstance(parent, VmdkImage):
        raise IncompleteChain(
            f"{path} builds upon {parent.path}, which is {parent.format} and no VMDK", hint=_HINT
        )
    if parent.content_id != descriptor.parent_id:
        has = "none" if parent.content_id is None else f"{parent.content_id:08x}"
        raise IncompleteChain(
            f"{path} builds upon a parent with the CID {descriptor.parent_id:08x}, and {parent.path} has {has}",
            hint="the parent was changed after the child was made, or it is another disk: find the right one",
        )
