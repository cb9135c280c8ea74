"""What is mounted of an attachment: read from the kernel each time, remembered nowhere."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from imgkit.filesystems.mount_options import MountRow, row_of_driver
from imgkit.linux.mount import read_mountinfo
from imgkit.linux.sysblock import device_number
from imgkit.mounting.facts import Mount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.attachment.facts import Attachment
    from imgkit.filesystems.mount_options import Journal, View
    from imgkit.linux.mount import MountInfo


def shows(info: MountInfo, device: str, rdev: int) -> bool:
    """Whether a mount is of this device; drivers with a device number of their own are known by their source."""
    if info.device == rdev:
        return True
    row = row_of_driver(info.filesystem)
    return row is not None and row.own_device_number and info.source == device


def options_in_force(info: MountInfo) -> tuple[str, ...]:
    """The mount's options, then the superblock's, each once."""
    return tuple(dict.fromkeys(info.options + info.super_options))


def option_words(info: MountInfo) -> set[str]:
    """The words of the superblock's options: `rescue=nologreplay:ignorebadroots` gives three."""
    return set(re.split(r"[,:=]", ",".join(info.super_options)))


def _number(device: str) -> int:
    """From sysfs, for the node may be missing in a container; -1, which no mount has, where the device is gone."""
    number = device_number(os.path.basename(device))
    return -1 if number is None else number


def list_mounts(attachments: Sequence[Attachment]) -> list[Mount]:
    """What is mounted of these attachments, in this mount namespace, read from the kernel now."""
    return mounts_of([attachment.device for attachment in attachments])


def mounts_of(names: Sequence[str]) -> list[Mount]:
    """What is mounted of these devices (`/dev/loop3`), as list_mounts; it needs no privilege."""
    devices = [(name, _number(name)) for name in names]
    found = []
    for info in read_mountinfo():
        for device, rdev in devices:
            if shows(info, device, rdev):
                found.append(_listed(info, device))
                break
    return found


def _listed(info: MountInfo, device: str) -> Mount:
    row = row_of_driver(info.filesystem)
    view, journal = _view(info, row)
    return Mount(
        source=device,
        target=info.target,
        filesystem=info.filesystem,
        options_asked=(),
        options=options_in_force(info),
        view=view,
        journal=journal,
        mount_id=info.mount_id,
    )


def _view(info: MountInfo, row: MountRow | None) -> tuple[View, Journal]:
    """From the options in force: the strongest fallback that they contain; dirty, for it is tried for that alone."""
    if row is None:
        return "unknown", "unknown"
    words = option_words(info)
    for fallback in reversed(row.fallbacks):
        if all(words & set(name.split("|")) for name in fallback.in_force) and fallback.view != "current":
            return fallback.view, "dirty" if fallback.view == "before-journal" else "unknown"
    return row.view, row.journal
