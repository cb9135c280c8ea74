"""Facts of mounts: frozen, valid once built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgkit.filesystems.mount_options import Journal, View


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system of an attachment, visible at a directory, as the kernel told when it was read back.

    Attributes:
        source: `/dev/loop3`.
        target: The directory, resolved.
        filesystem: The kernel's name of its type (`ntfs3`, where the signature says `ntfs`).
        options_asked: What imgkit asked for; empty in a list, where nobody knows it any more.
        options: In force, from mountinfo: the mount's, then the superblock's.
        view: `current`; `before-journal`: older than a journal that was not replayed; `salvaged`: damaged parts are
            left out and checksums are off; `unknown`: Linux never says for this type.
        journal: `clean`; `dirty`: changes wait in it that are not seen; `none`: the type has no journal; `unknown`.
        notices: Sentences the examiner should read.
        created: Directories that were made for it, outermost first; unmount(created=...) takes them away again.
        mount_id: The kernel's number of the mount, in this namespace.
    """

    source: str
    target: str
    filesystem: str
    options_asked: tuple[str, ...]
    options: tuple[str, ...]
    view: View
    journal: Journal
    notices: tuple[str, ...] = ()
    created: tuple[str, ...] = ()
    mount_id: int = -1
