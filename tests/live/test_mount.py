"""The whole way on every file system this kernel has: attach at the computed offset, read back, mount, list, unmount."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgkit.attachment import LoopDevice, attach
from imgkit.containers import open_image
from imgkit.mounting import list_mounts, mount, unmount
from imgkit.partitions import read_partition_table
from tests.live import filesystems
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live"), pytest.mark.xdist_group("mount")]

LABELS = ("gpt", "dos")
DIRTY_KINDS = tuple(filesystems.MAKERS)
CASES = [(label, "clean", kind) for label in LABELS for kind in filesystems.KINDS]
CASES += [(label, "dirty", kind) for label in LABELS for kind in DIRTY_KINDS]


@dataclass(frozen=True, slots=True)
class Disks:
    """What was made once for all tests: disks by label and state, the single images by state and kind, the files."""

    folder: Path
    files: dict[str, bytes]

    def disk(self, label: str, state: str) -> Path:
        return self.folder / f"{label}-{state}.img"

    def image(self, state: str, kind: str) -> Path:
        return self.folder / f"{kind}.{state}"


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Disks:
    folder = tmp_path_factory.mktemp("filesystems")
    disks = Disks(folder, filesystems.make_tree(folder / "tree"))
    for kind in filesystems.KINDS:
        filesystems.make_clean(disks.image("clean", kind), kind, folder / "tree")
    for kind in DIRTY_KINDS:
        filesystems.make_dirty(disks.image("dirty", kind), kind, folder / "tree")
    for label in LABELS:
        for state, kinds in (("clean", filesystems.KINDS), ("dirty", DIRTY_KINDS)):
            parts = [disks.image(state, kind) for kind in kinds]
            filesystems.make_disk(disks.disk(label, state), label, parts)
    return disks


@pytest.fixture
def device(disks: Disks, request: pytest.FixtureRequest) -> Iterator[tuple[LoopDevice, str]]:
    """The partition of a case, attached at the offset that the partition reader computed; the disk comes out equal."""
    label, state, kind = request.param
    disk = disks.disk(label, state)
    before = filesystems.facts(disk)
    kinds = filesystems.KINDS if state == "clean" else DIRTY_KINDS
    with open_image(str(disk)) as image:
        partition = read_partition_table(image).partitions[kinds.index(kind)]
        with attach(image, partition.extent) as device:
            yield device, kind
            assert read_bytes(device.attachment.device) == read_range(
                disk, partition.extent.offset, partition.extent.length
            )
            detached = device.detach()
    assert not detached.changed
    assert filesystems.facts(disk) == before
    assert is_anothers(device, disk)


def read_bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def read_range(path: Path, offset: int, length: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
    try:
        return os.pread(fd, length, offset)
    finally:
        os.close(fd)


def is_anothers(device: LoopDevice, disk: Path) -> bool:
    """Whether the device is free, or somebody else's by now: other tests bind devices at the same time."""
    name = Path(f"/sys/block/loop{device.attachment.number}/loop/backing_file")
    try:
        return str(disk) not in name.read_text()
    except FileNotFoundError:
        return True


def cases(state: str) -> list[tuple[str, str, str]]:
    return [case for case in CASES if case[1] == state]


@pytest.mark.parametrize("device", cases("clean"), indirect=True, ids="-".join)
def test_clean(device: tuple[LoopDevice, str], disks: Disks, tmp_path: Path) -> None:
    loop, kind = device
    descriptors = len(os.listdir("/proc/self/fd"))
    shown = mount(loop.attachment, str(tmp_path / "seen"), filesystem=kind)
    try:
        assert len(os.listdir("/proc/self/fd")) == descriptors
        assert (shown.source, shown.target) == (loop.attachment.device, str(tmp_path / "seen"))
        assert {"ro", "nosuid", "nodev", "noexec", "nosymfollow"} <= set(shown.options)
        assert (shown.filesystem, shown.view, shown.notices) == (kind, "current", ())
        assert shown.journal == ("clean" if kind in {"ext3", "ext4", "xfs", "btrfs"} else "none")
        assert filesystems.files_below(shown.target) == disks.files
        assert [found.target for found in list_mounts([loop.attachment])] == [shown.target]
    finally:
        unmount(shown.target, created=shown.created)
    assert list_mounts([loop.attachment]) == []
    assert not (tmp_path / "seen").exists()


@pytest.mark.parametrize("device", cases("dirty"), indirect=True, ids="-".join)
def test_dirty(device: tuple[LoopDevice, str], disks: Disks, tmp_path: Path) -> None:
    """What has a journal is shown as it was before it, and the examiner is told; ext2 has none and shows all."""
    loop, kind = device
    shown = mount(loop.attachment, str(tmp_path / "seen"), filesystem=kind)
    try:
        seen = filesystems.files_below(shown.target)
        listed = list_mounts([loop.attachment])[0]
    finally:
        unmount(shown.target, created=shown.created)
    assert (listed.view, listed.journal) == (shown.view, shown.journal)
    if kind == "ext2":
        assert (shown.view, shown.journal, shown.notices) == ("current", "none", ())
        assert seen == disks.files | {"late.txt": b"late\n", "early.txt": b"late\n"}
        return
    assert (shown.view, shown.journal) == ("before-journal", "dirty")
    assert len(shown.notices) == 1
    assert "because its journal is dirty" in shown.notices[0]
    assert set(shown.options) & {"norecovery", "rescue=nologreplay"}
    assert "late.txt" not in seen
    assert set(seen) <= set(disks.files)


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_the_same_uuid_twice(disks: Disks, tmp_path: Path, kind: str) -> None:
    """A copy beside its original: both can be seen at once, each from its own device."""
    path = disks.image("clean", kind)
    before = filesystems.facts(path)
    with open_image(str(path)) as image, attach(image) as one, attach(image) as two:
        first = mount(one.attachment, str(tmp_path / "one"), filesystem=kind)
        try:
            second = mount(two.attachment, str(tmp_path / "two"), filesystem=kind)
            try:
                assert filesystems.files_below(second.target) == disks.files
                assert [found.target for found in list_mounts([two.attachment])] == [second.target]
                assert [found.target for found in list_mounts([one.attachment])] == [first.target]
            finally:
                unmount(second.target, created=second.created)
        finally:
            unmount(first.target, created=first.created)
    if kind == "xfs":
        assert "nouuid" in second.options
        assert "nouuid" not in first.options
        assert "another xfs with the same UUID is mounted" in second.notices[0]
        assert (second.view, second.journal) == ("current", "clean")
    assert filesystems.facts(path) == before


def test_a_mount_holds_a_device_that_nobody_else_holds(disks: Disks, tmp_path: Path) -> None:
    """The device was not told to stay: it goes when the mount goes."""
    with open_image(str(disks.image("clean", "ext4"))) as image, attach(image) as device:
        shown = mount(device.attachment, str(tmp_path / "seen"), filesystem="ext4")
        try:
            device.hand_over()
            assert filesystems.files_below(shown.target) == disks.files
        finally:
            unmount(shown.target, created=shown.created)
        wait_until(lambda: is_anothers(device, disks.image("clean", "ext4")))


def test_a_damaged_btrfs_is_salvaged_and_said_to_be(disks: Disks, tmp_path: Path) -> None:
    """Without its extent tree btrfs mounts with rescue=all only: the files are there, the checksums are off."""
    path = tmp_path / "damaged.img"
    path.write_bytes(filesystems.without_extent_tree(disks.image("clean", "btrfs")))
    before = filesystems.facts(path)
    with open_image(str(path)) as image, attach(image) as device:
        shown = mount(device.attachment, str(tmp_path / "seen"), filesystem="btrfs")
        try:
            assert filesystems.files_below(shown.target) == disks.files
            listed = list_mounts([device.attachment])[0]
        finally:
            unmount(shown.target, created=shown.created)
    assert (shown.view, shown.journal) == (listed.view, listed.journal) == ("salvaged", "unknown")
    assert "checksums are not checked" in shown.notices[0]
    assert filesystems.facts(path) == before
