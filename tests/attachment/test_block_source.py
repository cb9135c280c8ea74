"""A block device as the image: held exclusively, named by what it states of itself, watched for writes."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from imgkit.attachment import attach, detach, list_attachments, source_facts
from imgkit.containers import open_image
from imgkit.errors import Busy
from imgkit.examination.attached import detached_facts
from imgkit.image import Extent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A writable disk, as an examiner without a write blocker would have it."""
    path = tmp_path / "disk.img"
    path.write_bytes(os.urandom(4 << 20))
    command = ["losetup", "-f", "--show", str(path)]
    device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    yield device
    subprocess.run(["losetup", "-d", device], check=True)


def test_disk_is_attached_and_described(disk: str, tmp_path: Path) -> None:
    with open_image(disk) as image, attach(image, Extent(1 << 20, 1 << 20)) as device:
        found = device.attachment
        assert os.pread(device.fileno(), 1 << 20, 0) == image.read_at(1 << 20, 1 << 20)
        listed = next(other for other in list_attachments() if other.is_same_as(found))
    source = found.source
    assert source is not None
    assert (source.name, source.size, source.sector_size) == (os.path.basename(disk), 4 << 20, 512)
    assert source.read_only is False
    assert any("no write blocker seen" in notice for notice in found.notices)
    assert (found.backing.kind, found.backing.rdev, found.backing.size) == (
        "block",
        os.stat(disk).st_rdev,
        4 << 20,
    )
    assert found.guard == "none"
    assert listed.source == source
    assert listed.backing.kind == "block"


def test_read_only_disk_gives_no_notice(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(os.urandom(1 << 20))
    command = ["losetup", "-r", "-f", "--show", str(path)]
    device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        with open_image(device) as image, attach(image) as attached:
            assert attached.attachment.source is not None
            assert attached.attachment.source.read_only
            assert not any("write blocker" in notice for notice in attached.attachment.notices)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def test_nobody_mounts_it_meanwhile(disk: str, tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", disk], check=True)
    with open_image(disk) as image, attach(image):
        done = subprocess.run(["mount", disk, str(tmp_path)], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "busy" in done.stderr or "already mounted" in done.stderr


def test_mounted_disk_is_refused_and_the_mount_named(disk: str, tmp_path: Path) -> None:
    target = tmp_path / "mnt"
    target.mkdir()
    subprocess.run(["mkfs.ext4", "-q", disk], check=True)
    subprocess.run(["mount", disk, str(target)], check=True)
    try:
        with open_image(disk) as image, pytest.raises(Busy, match=f"mounted at {target}"):
            attach(image)
    finally:
        subprocess.run(["umount", str(target)], check=True)


def test_our_own_devices_share_a_disk(disk: str) -> None:
    with open_image(disk) as image, attach(image) as first, attach(image, Extent(0, 512)) as second:
        assert first.attachment.number != second.attachment.number


def test_a_write_to_the_disk_is_found(disk: str) -> None:
    with open_image(disk) as image, attach(image) as device:
        attachment = device.keep()
        with open(disk, "r+b", buffering=0) as file:
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
    result = detach(attachment)
    assert result.changed
    assert any("sectors_written 0" in d or "sectors_written" in d for d in result.changes.details)
    assert attachment.source is not None
    assert result.changes.source is not None
    facts = detached_facts(result, compared=True)
    assert facts["source"]["sectors_written"] == result.changes.source.sectors_written
    assert facts["source"]["sectors_written"] >= attachment.source.sectors_written + 8


def test_a_file_has_no_source_facts(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with path.open("rb") as file:
        assert source_facts(file.fileno()) is None
