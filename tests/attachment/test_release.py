"""detach: only what was meant, verified gone, and what changed meanwhile is said."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from imgkit.attachment import attach, backing_now, detach, guard, holders_of, list_attachments, source
from imgkit.containers import open_image
from imgkit.errors import Busy
from imgkit.image import Extent
from imgkit.linux import loop, sysblock
from imgkit.linux.files import release_lease

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgkit.attachment import Attachment

    MakeImage = Callable[[int], Path]

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

HOLD = "import os, sys; os.open(sys.argv[1], os.O_RDONLY); print('open', flush=True); sys.stdin.read()"


def is_bound(attachment: Attachment) -> bool:
    return any(found.is_same_as(attachment) for found in list_attachments())


def attached(path: Path, extent: Extent | None = None) -> Attachment:
    """A device that stays, with every descriptor of ours closed."""
    with open_image(path) as image, attach(image, extent) as device:
        return device.keep()


def test_stays_and_goes(make_image: MakeImage) -> None:
    attachment = attached(make_image(1 << 20))
    assert is_bound(attachment)
    result = detach(attachment)
    assert not is_bound(attachment)
    assert result.proof == attachment.proof
    assert (result.changed, result.touched, result.gone_before, result.writes) == (False, False, False, 0)
    assert result.guard == "lease"  # it lives with the loop device, not with the process


def test_listed_attachment_detaches(make_image: MakeImage) -> None:
    attachment = attached(make_image(1 << 20), Extent(4096, 8192))
    listed = next(found for found in list_attachments() if found.is_same_as(attachment))
    assert replace(listed, backing=attachment.backing) == attachment
    assert not detach(listed).changed
    assert not is_bound(attachment)


def test_gone_before(make_image: MakeImage) -> None:
    path = make_image(1 << 20)
    attachment = attached(path)
    detach(attachment)
    again = detach(attachment)
    assert again.gone_before
    assert again.proof is None
    assert not again.changed


def test_another_use_of_the_device_is_left_alone(make_image: MakeImage) -> None:
    path = make_image(1 << 20)
    attachment = attached(path)
    try:
        earlier = replace(attachment, diskseq=(attachment.diskseq or 0) - 1, label="imgkit:none:1:0")
        assert detach(earlier).gone_before
        assert is_bound(attachment)
    finally:
        detach(attachment)


def test_held_device_names_the_holder_and_stays_as_it_was(make_image: MakeImage) -> None:
    attachment = attached(make_image(1 << 20))
    command = [sys.executable, "-c", HOLD, attachment.device]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Busy, match=rf"pid {holder.pid} \(python") as caught:
            detach(attachment, timeout=0.1)
        assert "detach again" in (caught.value.hint or "")
        assert [found.pid for found in holders_of(attachment.device)] == [holder.pid]
        holder.communicate()
    assert is_bound(attachment)  # not marked to go with its last close: a failed detach changes nothing
    assert detach(attachment).proof == attachment.proof


def test_a_short_holder_is_waited_for(make_image: MakeImage) -> None:
    attachment = attached(make_image(1 << 20))
    code = "import os, sys, time; os.open(sys.argv[1], 0); print('open', flush=True); time.sleep(0.2)"
    with subprocess.Popen([sys.executable, "-c", code, attachment.device], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        detach(attachment)
    assert not is_bound(attachment)


def test_mounted_device_is_refused_at_once(tmp_path: Path) -> None:
    path, target = tmp_path / "fs.img", tmp_path / "mnt"
    path.write_bytes(bytes(4 << 20))
    target.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", str(path)], check=True)
    attachment = attached(path)
    try:
        subprocess.run(["mount", "-o", "ro", attachment.device, str(target)], check=True)
        try:
            with pytest.raises(Busy, match=f"mounted at {re.escape(str(target))}"):
                detach(attachment)
            found = next(found for found in list_attachments() if found.is_same_as(attachment))
            assert found.proof.staying
        finally:
            subprocess.run(["umount", str(target)], check=True)
    finally:
        detach(attachment)
    assert not is_bound(attachment)


def test_changes_below_are_values(scratch_image: Path) -> None:
    attachment = attached(scratch_image)
    assert not backing_now(attachment).touched
    os.chmod(scratch_image, 0o600)
    os.chmod(scratch_image, 0o640)
    touched = backing_now(attachment)
    assert (touched.changed, touched.touched) == (False, True)
    with pytest.raises(TypeError, match="changed"):
        bool(touched)
    os.utime(scratch_image, ns=(5, 5))
    result = detach(attachment)
    assert (result.changed, result.touched) == (True, False)
    assert "mtime" in result.changes.details[0]
    assert not is_bound(attachment)


@pytest.fixture
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system without leases."""

    def unsupported(fd: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(guard, "take_read_lease", unsupported)


@pytest.mark.usefixtures("unguarded")
def test_grown_shrunk_replaced_deleted(scratch_image: Path) -> None:
    content = scratch_image.read_bytes()
    for size in (len(content) + 1, len(content) - 1):
        attachment = attached(scratch_image)
        assert (attachment.guard, source.NOT_GUARDED in attachment.notices) == ("none", True)
        os.truncate(scratch_image, size)
        result = detach(attachment)
        assert result.changed
        assert any(f"{size} now" in detail for detail in result.changes.details)
        scratch_image.write_bytes(content)
    attachment = attached(scratch_image)
    scratch_image.unlink()
    listed = next(found for found in list_attachments() if found.is_same_as(attachment))
    assert "cannot be found" in listed.notices[0]
    assert detach(attachment).changed
    scratch_image.write_bytes(content)
    attachment = attached(scratch_image)
    other = scratch_image.with_suffix(".new")
    other.write_bytes(content)
    other.rename(scratch_image)
    result = detach(attachment)
    assert "another file" in result.changes.details[0]
    assert result.changed


def test_renamed_is_only_touched(scratch_image: Path) -> None:
    attachment = attached(scratch_image)
    scratch_image.rename(scratch_image.with_name("moved\nhere.img"))
    result = detach(attachment)
    assert (result.changed, result.touched) == (False, True)
    assert "moved\nhere.img" in result.changes.details[0]


def test_swapped_file_is_found(scratch_image: Path, tmp_path: Path) -> None:
    """LOOP_CHANGE_FD needs no capability: whoever holds a descriptor of the device can do it."""
    attachment = attached(scratch_image)
    other = tmp_path / "other.img"
    other.write_bytes(bytes(1 << 20))
    swap(attachment.device, other)
    listed = next(found for found in list_attachments() if found.label == attachment.label)
    assert listed.diskseq != attachment.diskseq
    result = detach(replace(listed, backing=attachment.backing))
    assert result.changed
    assert any(": file (" in detail for detail in result.changes.details)
    assert not sysblock.loop_is_bound(attachment.number) or not is_bound(attachment)


def test_writer_in_between_is_reported(scratch_image: Path) -> None:
    """The lease makes later writers wait; one that was let in (here: the lease given up) is found by the times."""
    with open_image(scratch_image) as image, attach(image) as device:
        attachment = device.attachment
        fd = image.backing_fileno()
        assert fd is not None
        with pytest.raises(BlockingIOError):
            os.open(scratch_image, os.O_WRONLY | os.O_NONBLOCK)
        release_lease(fd)
        time.sleep(0.01)
        with scratch_image.open("r+b") as file:
            file.write(b"changed")
        result = device.detach()
    assert attachment.guard == "lease"
    assert result.guard == "none"
    assert result.changed


def test_foreign_loop_devices_are_not_listed(tmp_path: Path) -> None:
    path = tmp_path / "theirs.img"
    path.write_bytes(bytes(1 << 20))
    done = subprocess.run(
        ["losetup", "-f", "--show", "-r", str(path)], check=True, capture_output=True, text=True
    )
    device = done.stdout.strip()
    try:
        assert device not in [found.device for found in list_attachments()]
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def swap(device: str, other: Path) -> None:
    assert not hasattr(loop, "LOOP_CHANGE_FD")
    node, file = os.open(device, os.O_RDONLY), os.open(other, os.O_RDONLY)
    try:
        fcntl.ioctl(node, 0x4C06, file)
    finally:
        os.close(node)
        os.close(file)
