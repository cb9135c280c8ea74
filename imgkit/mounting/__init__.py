"""Mounts of attachments: mount, unmount, list_mounts. The device is read-only already; options only decide what is seen."""

from __future__ import annotations

from imgkit.holders import holders_of_mount
from imgkit.mounting.directory import check_directory, place_for_mount, remove_mount_point
from imgkit.mounting.down import unmount
from imgkit.mounting.facts import Mount
from imgkit.mounting.listing import list_mounts, mounts_of
from imgkit.mounting.up import check_driver, check_mountable, mount

__all__ = [
    "Mount",
    "check_directory",
    "check_driver",
    "check_mountable",
    "holders_of_mount",
    "list_mounts",
    "mount",
    "mounts_of",
    "place_for_mount",
    "remove_mount_point",
    "unmount",
]
