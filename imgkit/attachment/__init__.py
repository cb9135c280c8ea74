"""Hand an extent of an image to the kernel as a read-only loop device, prove that it is one, and take it down again.

What holds at every step: the device is bound AUTOCLEAR, so a crash leaves nothing until keep(); nothing the kernel
was asked for is trusted, everything is read back; a device is identified by diskseq, file and range, never by a path.
The protocol and the measurements behind it are in docs/guide/attach-and-mount.md.

Names are loaded when they are first used: most commands only read what records say of attachments.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgkit.attachment.bind import need_privilege
    from imgkit.attachment.changes import backing_now, files_changed
    from imgkit.attachment.device import LoopDevice, attach, attach_all, keep_all
    from imgkit.attachment.exposed import left_over, silence
    from imgkit.attachment.extents import check_extent
    from imgkit.attachment.facts import (
        LABEL_LIMIT,
        LABEL_PREFIX,
        Attachment,
        Backing,
        BackingChange,
        Detached,
        Exposed,
        Proof,
        SourceFacts,
    )
    from imgkit.attachment.guard import guard_of_files, take_guard
    from imgkit.attachment.holders import holders_of, writers_of
    from imgkit.attachment.listing import list_attachments
    from imgkit.attachment.release import detach
    from imgkit.attachment.source import SharedSource, source_facts
    from imgkit.holders import Holder
    from imgkit.linux.signals import signals_held

_HOME = {
    "attachment.bind": ("need_privilege",),
    "attachment.changes": ("backing_now", "files_changed"),
    "attachment.device": ("LoopDevice", "attach", "attach_all", "keep_all"),
    "attachment.exposed": ("left_over", "silence"),
    "attachment.extents": ("check_extent",),
    "attachment.facts": (
        "LABEL_LIMIT",
        "LABEL_PREFIX",
        "Attachment",
        "Backing",
        "BackingChange",
        "Detached",
        "Exposed",
        "Proof",
        "SourceFacts",
    ),
    "attachment.guard": ("guard_of_files", "take_guard"),
    "attachment.holders": ("holders_of", "writers_of"),
    "attachment.listing": ("list_attachments",),
    "attachment.release": ("detach",),
    "attachment.source": ("SharedSource", "source_facts"),
    "holders": ("Holder",),
    "linux.signals": ("signals_held",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "LABEL_LIMIT",
    "LABEL_PREFIX",
    "Attachment",
    "Backing",
    "BackingChange",
    "Detached",
    "Exposed",
    "Holder",
    "LoopDevice",
    "Proof",
    "SharedSource",
    "SourceFacts",
    "attach",
    "attach_all",
    "backing_now",
    "check_extent",
    "detach",
    "files_changed",
    "guard_of_files",
    "holders_of",
    "keep_all",
    "left_over",
    "list_attachments",
    "need_privilege",
    "signals_held",
    "silence",
    "source_facts",
    "take_guard",
    "writers_of",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"imgkit.{_MODULE_OF[name]}"), name)
