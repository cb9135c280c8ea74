"""The table says one thing about each type, and everything it says can be carried out."""

from __future__ import annotations

import shlex

import pytest

from imgkit.errors import NotMountable
from imgkit.filesystems.mount_options import (
    FILESYSTEMS,
    NOT_FILESYSTEMS,
    MountRow,
    not_filesystem,
    row_of_driver,
)
from imgkit.mounting import check_mountable

JOURNALED = ("ext3", "ext4", "xfs", "btrfs", "nilfs2")


@pytest.mark.parametrize("kind", JOURNALED)
def test_a_journal_that_is_not_replayed_is_said_to_be_so(kind: str) -> None:
    row = FILESYSTEMS[kind]
    assert row.journal == "clean"
    hiding = [fallback for fallback in row.fallbacks if fallback.view == "before-journal"]
    assert hiding
    assert all("what is seen is" in fallback.notice for fallback in hiding)


def test_options_are_those_that_were_measured() -> None:
    options = {kind: [fallback.options for fallback in FILESYSTEMS[kind].fallbacks] for kind in JOURNALED}
    assert options == {
        "ext3": [("noload",)],
        "ext4": [("noload",)],
        "xfs": [("nouuid",), ("norecovery", "nouuid")],
        "btrfs": [("rescue=nologreplay",), ("rescue=all",)],
        "nilfs2": [("norecovery",)],
    }


@pytest.mark.parametrize("row", FILESYSTEMS.values(), ids=FILESYSTEMS)
def test_no_row_makes_anything_writable_or_lets_the_image_panic_the_host(row: MountRow) -> None:
    options = {option for fallback in row.fallbacks for option in fallback.options} | set(row.always)
    assert not options & {"rw", "remount", "force", "errors=panic", "repair", "clear_cache"}
    assert all(fallback.view != "current" or row.view == "current" for fallback in row.fallbacks)


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
def test_ext_superblocks_cannot_ask_for_a_panic(kind: str) -> None:
    assert "errors=continue" in FILESYSTEMS[kind].always


def test_nothing_is_both() -> None:
    assert not set(FILESYSTEMS) & set(NOT_FILESYSTEMS)


@pytest.mark.parametrize("kind", [*NOT_FILESYSTEMS, "promise_fasttrack_raid_member"])
def test_what_is_no_file_system_is_refused_with_a_next_step(kind: str) -> None:
    with pytest.raises(NotMountable) as refused:
        check_mountable(kind, device="/dev/loop7")
    assert refused.value.message.startswith("cannot mount /dev/loop7: it holds ")
    assert refused.value.hint
    assert "{" not in refused.value.hint


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("crypto_LUKS", "cryptsetup open --readonly --type luks /dev/loop7 NAME"),
        ("BitLocker", "cryptsetup open --readonly --type bitlk /dev/loop7 NAME"),
        ("linux_raid_member", "mdadm --assemble --readonly --run /dev/md/NAME /dev/loop7"),
        ("zfs_member", "zpool import -o readonly=on"),
    ],
)
def test_the_next_command_is_read_only(kind: str, command: str) -> None:
    with pytest.raises(NotMountable) as refused:
        check_mountable(kind, device="/dev/loop7")
    assert command in (refused.value.hint or "")


@pytest.mark.parametrize("kind", ["", "fuse", "overlay", "../ext4"])
def test_an_unknown_type_is_never_tried(kind: str) -> None:
    with pytest.raises(NotMountable):
        check_mountable(kind, device="/dev/loop7")


@pytest.mark.parametrize(
    ("driver", "kind"), [("ext4", "ext4"), ("ext3", "ext3"), ("ext2", "ext2"), ("ntfs3", "ntfs")]
)
def test_row_of_a_driver(driver: str, kind: str) -> None:
    assert row_of_driver(driver) is FILESYSTEMS[kind]


def test_no_row_of_a_driver_that_is_not_ours() -> None:
    assert row_of_driver("tmpfs") is None
    assert not_filesystem("ext4") is None


@pytest.mark.parametrize("row", FILESYSTEMS.values(), ids=FILESYSTEMS)
def test_fuse_commands_name_the_device_and_are_one_command(row: MountRow) -> None:
    if row.fuse is None:
        assert row.drivers or row is FILESYSTEMS["ReFS"]
        return
    words = shlex.split(row.fuse.format(device="/dev/loop7"))
    assert words[-2:] == ["/dev/loop7", "DIR"]
