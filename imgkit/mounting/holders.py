"""Who keeps a mount in use, to be named when it cannot be taken down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit import holders
from imgkit.attachment.facts import Holder

if TYPE_CHECKING:
    from imgkit.linux.mount import MountInfo


def holders_of_mount(info: MountInfo) -> tuple[Holder, ...]:
    """Mounts on top, loop devices bound to its files, processes that work in it.

    Other users' processes are seen only by root, other mount namespaces' own mounts of it not at all.
    """
    return tuple(
        Holder(found.kind, found.what, found.pid, found.command) for found in holders.holders_of_mount(info)
    )
