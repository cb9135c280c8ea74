"""attach: what was asked for is what the kernel shows, byte for byte, read-only, and nothing else happens."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import struct
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from imgkit.attachment import (
    LABEL_LIMIT,
    attach,
    attach_all,
    bind,
    keep_all,
    list_attachments,
)
from imgkit.containers import open_image
from imgkit.errors import AttachError, Busy, HostError, NotPermitted, SizeMismatch, UsageError
from imgkit.image import Extent
from imgkit.linux import blockdev, loop, sysblock
from imgkit.linux.process import is_running
from imgkit.partitions import read_partition_table
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgkit.attachment import Attachment, LoopDevice

    MakeImage = Callable[[int], Path]

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]
BLKDISCARD, BLKZEROOUT, BLKROSET, BLKSECDISCARD = 0x1277, 0x127F, 0x125D, 0x127D


def read_device(device: LoopDevice) -> bytes:
    """All bytes of the device, past its own cached pages."""
    blockdev.blkflsbuf(device.fileno())
    return os.pread(device.fileno(), device.attachment.proof.size + 4096, 0)


def ours(attachment: Attachment) -> list[Attachment]:
    return [found for found in list_attachments() if found.is_same_as(attachment)]


def test_whole_media(make_image: MakeImage) -> None:
    path = make_image(3 << 20)
    with open_image(path) as image:
        with attach(image, label="imgkit:1f0d7c1e-8a8e-4a57-9a3e-3f6a2b1c0d9e:57") as device:
            found = device.attachment
            assert read_device(device) == image.read_at(0, image.size)
            assert ours(found) == [found]
        assert not ours(found)
    proof = found.proof
    assert found.extent == Extent(0, 3 << 20)
    assert (found.clipped_tail, found.block_size, found.guard, found.notices) == (0, 512, "lease", ())
    assert (found.log, found.seq) == ("1f0d7c1e-8a8e-4a57-9a3e-3f6a2b1c0d9e", 57)
    assert (proof.lo_flags, proof.blkroget, proof.sysfs_ro, found.read_only) == (5, True, True, True)
    assert (proof.device, proof.inode) == (path.stat().st_dev, path.stat().st_ino)
    assert (found.backing.dev, found.backing.ino, found.backing.size) == (proof.device, proof.inode, 3 << 20)
    assert found.backing.mtime_ns == path.stat().st_mtime_ns
    assert found.diskseq == proof.diskseq
    assert found.diskseq is not None


@pytest.mark.parametrize(
    "tool",
    [
        ["sgdisk", "-n", "1:2048:4095", "-n", "2:4096:6143", "-n", "5:6144:+512K"],
        ["sfdisk", "--quiet"],
    ],
    ids=["gpt", "dos"],
)
def test_partitions(tool: list[str], tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 20) + os.urandom(7 << 20))
    script = b"label: dos\n2048,2048,83\n4096,2048,7\n6144,4096,5\n,512,83\n,512,82\n"
    subprocess.run([*tool, str(path)], input=script, check=True, capture_output=True)
    content = path.read_bytes()
    with open_image(path) as image:
        extents = [part.extent for part in read_partition_table(image).partitions]
        assert len(extents) in (3, 4)
        devices = attach_all(image, extents)
        for device, extent in zip(devices, extents, strict=True):
            with device:
                assert read_device(device) == content[extent.offset : extent.end]
                assert device.attachment.extent == extent
        assert not any(ours(device.attachment) for device in devices)


@pytest.mark.parametrize("size", [512, 513, 512 * 9 + 100, 4096 + 1])
def test_odd_sizes_of_whole_media(size: int, make_image: MakeImage) -> None:
    path = make_image(size)
    with open_image(path) as image, attach(image, block_size=512) as device:
        shown = size - size % 512
        assert device.attachment.clipped_tail == size - shown
        assert device.attachment.extent == Extent(0, size)
        assert read_device(device) == image.read_at(0, shown)
        assert ours(device.attachment)[0].clipped_tail == size - shown
        told = [text for text in device.attachment.notices if "not on the device" in text]
        assert len(told) == (size > shown)
        assert all(
            "last byte is" in text if size - shown == 1 else f"last {size - shown} bytes" in text
            for text in told
        )


@pytest.mark.parametrize("size", [1, 511])
def test_too_small_for_a_block(size: int, make_image: MakeImage) -> None:
    with open_image(make_image(size)) as image, pytest.raises(AttachError, match="fills no block"):
        attach(image)


def test_large_sectors(make_image: MakeImage) -> None:
    path = make_image((1 << 20) + 512)
    with open_image(path) as image, attach(image, block_size=4096) as device:
        assert (device.attachment.block_size, device.attachment.clipped_tail) == (4096, 512)
        assert blockdev.blksszget(device.fileno()) == 4096
        assert read_device(device) == image.read_at(0, 1 << 20)


def test_direct_io_is_used_or_said_to_be_dropped(make_image: MakeImage) -> None:
    path = make_image(1 << 20)
    with open_image(path) as image, attach(image, direct_io=True) as device:
        said = any("direct I/O" in notice for notice in device.attachment.notices)
        assert device.attachment.proof.direct_io is not said
        assert read_device(device) == image.read_at(0, image.size)


def test_refused_before_anything_is_done(make_image: MakeImage) -> None:
    with open_image(make_image(1 << 20)) as image:
        for extent in (
            Extent(1 << 20, 512),
            Extent(0, 0),
            Extent(0, 2 << 20),
            Extent(0, 513),
            Extent(7, 512),
        ):
            with pytest.raises(AttachError):
                attach(image, extent)


def test_a_split_set_is_served_by_one_process(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"disk.00{number}").write_bytes(os.urandom(1 << 16))
    with open_image(tmp_path / "disk.001") as image:
        devices = attach_all(image, [None, Extent(1 << 15, 1 << 16)])
        for device in devices:
            found = device.attachment
            extent = found.extent
            assert read_device(device) == image.read_at(extent.offset, extent.length)
            assert (found.backing.kind, found.guard, found.proof.direct_io) == ("exposed", "lease", True)
            assert [(file.path, file.size) for file in found.files] == [
                (segment.path, segment.size) for segment in image.segments
            ]
            (listed,) = ours(found)
            assert listed.exposed == found.exposed
        first, second = (device.attachment.exposed for device in devices)
        assert first == second
        assert first is not None
        assert first.alive
        for device in devices:
            device.close()
        pid = first.pid or 0
        wait_until(lambda: not is_running(pid))


def test_changed_size_since_it_was_opened(scratch_image: Path) -> None:
    with open_image(scratch_image) as image:
        os.truncate(scratch_image, 1 << 19)
        with pytest.raises(SizeMismatch, match="had 1048576 bytes when it was opened and has 524288 now"):
            attach(image)


@pytest.mark.parametrize("label", ["mine:1", "imgkit:" + "x" * LABEL_LIMIT, "imgkit:\u00e9"])
def test_labels_that_would_not_fit(label: str, make_image: MakeImage) -> None:
    with open_image(make_image(4096)) as image, pytest.raises(UsageError, match="is no label"):
        attach(image, label=label)


def test_nothing_can_be_written(make_image: MakeImage) -> None:
    with open_image(make_image(1 << 20)) as image, attach(image) as device:
        fd = os.open(device.device, os.O_RDWR)  # succeeds: never test by opening
        try:
            with pytest.raises(PermissionError):
                os.pwrite(fd, b"x" * 4096, 0)
            for request in (BLKDISCARD, BLKZEROOUT, BLKSECDISCARD):
                with pytest.raises(OSError, match=r"Operation not permitted|not supported"):
                    fcntl.ioctl(fd, request, struct.pack("=2Q", 0, 4096))
            fcntl.ioctl(fd, BLKROSET, struct.pack("=i", 0))  # returns 0 and changes nothing
            with pytest.raises(PermissionError):
                os.pwrite(fd, b"x" * 4096, 0)
        finally:
            os.close(fd)
        assert ours(device.attachment)[0].read_only
        assert ours(device.attachment)[0].proof.sectors_written == device.attachment.proof.sectors_written


def test_mapped_shared_writable_is_refused(make_image: MakeImage) -> None:
    with open_image(make_image(1 << 20)) as image, attach(image) as device:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
        fd = os.open(device.device, os.O_RDONLY)
        try:
            assert libc.mmap(None, 4096, 3, 1, fd, 0) == ctypes.c_void_p(-1).value
            assert ctypes.get_errno() == errno.EACCES
        finally:
            os.close(fd)


def test_all_or_none(make_image: MakeImage, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_image(1 << 20)
    configure, calls = loop.loop_configure, []

    def third_fails(fd: int, config: loop.LoopConfig) -> None:
        calls.append(config)
        if len(calls) == 3:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        configure(fd, config)

    monkeypatch.setattr(loop, "loop_configure", third_fails)
    inode = path.stat().st_ino
    with open_image(path) as image:
        with pytest.raises(AttachError, match="Cannot allocate memory"):
            attach_all(image, [Extent(n << 16, 1 << 16) for n in range(4)])
        assert len(calls) == 3
        assert not [found for found in list_attachments() if found.proof.inode == inode]


LIES = {
    "flags": lambda info: replace(info, lo_flags=info.lo_flags & ~loop.LO_FLAGS_READ_ONLY),
    "offset": lambda info: replace(info, lo_offset=info.lo_offset + 512),
    "sizelimit": lambda info: replace(info, lo_sizelimit=0),
    "inode": lambda info: replace(info, lo_inode=info.lo_inode + 1),
}


@pytest.mark.parametrize("field", sorted(LIES))
def test_what_the_kernel_says_otherwise_is_undone(
    field: str, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, ask = make_image(1 << 20), loop.loop_get_status64
    with monkeypatch.context() as patch, open_image(path) as image:
        patch.setattr(loop, "loop_get_status64", lambda fd: LIES[field](ask(fd)))
        with pytest.raises(AttachError, match=r"/dev/loop\d+ (shows|was asked)"):
            attach(image, Extent(4096, 4096))
    inode = path.stat().st_ino
    assert not [found for found in list_attachments() if found.proof.inode == inode]


def test_busy_devices_are_passed_by(make_image: MakeImage, monkeypatch: pytest.MonkeyPatch) -> None:
    configure, refusals = loop.loop_configure, [errno.EBUSY, errno.ENXIO, errno.EBUSY]

    def taken(fd: int, config: loop.LoopConfig) -> None:
        if refusals:
            number = refusals.pop()
            raise OSError(number, os.strerror(number))
        configure(fd, config)

    monkeypatch.setattr(loop, "loop_configure", taken)
    with open_image(make_image(4096)) as image, attach(image) as device:
        assert device.attachment.read_only
    assert not refusals


def test_keep_all_stays_and_detach_takes_down(make_image: MakeImage) -> None:
    path = make_image(1 << 20)
    with open_image(path) as image:
        devices = attach_all(image, [Extent(n << 16, 1 << 16) for n in range(8)])
        kept = keep_all(devices)
        for device in devices:
            device.close()
            device.close()  # closing twice is allowed
        try:
            assert all(attachment.proof.staying for attachment in kept)
            assert [ours(attachment) for attachment in kept] == [[attachment] for attachment in kept]
        finally:
            results = [device.detach() for device in devices]
        assert not any(ours(attachment) for attachment in kept)
    assert [(r.changed, r.touched, r.writes, r.guard) for r in results] == [(False, False, 0, "lease")] * 8
    assert [r.proof for r in results] == [attachment.proof for attachment in kept]


def test_one_that_cannot_stay_takes_all_down(make_image: MakeImage, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_image(make_image(1 << 20)) as image:
        devices = attach_all(image, [Extent(n << 16, 1 << 16) for n in range(3)])
        target, settle = devices[1].fileno(), loop.loop_set_status64

        def refuse(fd: int, info: loop.LoopInfo64) -> None:
            if fd == target:
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))
            settle(fd, info)

        monkeypatch.setattr(loop, "loop_set_status64", refuse)
        with pytest.raises(AttachError, match="cannot make"):
            keep_all(devices)
        assert not any(ours(device.attachment) for device in devices)


def test_without_the_capability(scratch_image: Path) -> None:
    code = (
        "import ctypes, os, sys\n"
        "from imgkit.attachment import attach, detach\n"
        "from imgkit.containers import open_image\n"
        "from imgkit.errors import NotPermitted\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    attach(open_image('/dev/stdin'))\n"
        "except NotPermitted as error:\n"
        "    sys.exit(f'{error.kind}: {error} | {error.hint}')\n"
    )
    with scratch_image.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=file, capture_output=True, text=True, check=False
        )
    assert "not-permitted: cannot attach" in done.stderr
    assert "CAP_SYS_ADMIN" in done.stderr
    assert "sudo" in done.stderr
    assert NotPermitted.exit_code == 3


def partition(fd: int, operation: int) -> None:
    """BLKPG: add (1) or delete (2) partition 1, 64 KiB at 4096."""
    entry = struct.pack("=qqi64s64s4x", 4096, 65536, 1, b"", b"")
    buffer = ctypes.create_string_buffer(entry, len(entry))
    fcntl.ioctl(fd, 0x1269, struct.pack("@iiiP", operation, 0, len(entry), ctypes.addressof(buffer)))


def test_stale_partitions_of_an_earlier_user_are_avoided(make_image: MakeImage) -> None:
    """BLKPG partitions outlive LOOP_CLR_FD and would map the next image."""
    with open_image(make_image(1 << 20)) as image:
        with attach(image) as device:
            number = device.attachment.number
            partition(device.fileno(), 1)
        try:
            assert sysblock.partitions_of(f"loop{number}") == [f"loop{number}p1"]
            with attach(image) as other:
                assert other.attachment.number != number
        finally:
            fd = os.open(f"/dev/loop{number}", os.O_RDONLY | os.O_CLOEXEC)
            partition(fd, 2)
            os.close(fd)


@pytest.mark.alone  # its mount namespace holds what other tests have mounted
def test_missing_node_is_made(make_image: MakeImage) -> None:
    """As in a container whose /dev lacks the node: in a mount namespace with a /dev of its own."""
    code = (
        "import os, sys\n"
        "from imgkit.attachment import attach\n"
        "from imgkit.containers import open_image\n"
        "with open_image(sys.argv[1]) as image, attach(image) as device:\n"
        "    print(os.pread(device.fileno(), 4096, 0) == image.read_at(0, 4096), os.listdir('/dev'))\n"
    )
    script = 'mount -t tmpfs none /dev && exec "$0" -c "$1" "$2"'
    command = ["unshare", "-m", "sh", "-c", script, sys.executable, code, str(make_image(8192))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("True ['loop"), done.stderr


@pytest.mark.alone  # its mount namespace holds what other tests have mounted
def test_a_planted_node_is_not_taken(make_image: MakeImage) -> None:
    code = (
        "import os, stat, sys\n"
        "from imgkit.attachment import attach\n"
        "from imgkit.containers import open_image\n"
        "for n in range(256):\n"
        "    os.mknod(f'/dev/loop{n}', stat.S_IFBLK | 0o600, os.makedev(7, 4000))\n"
        "attach(open_image(sys.argv[1]))\n"
    )
    script = 'mount -t tmpfs none /dev && exec "$0" -c "$1" "$2"'
    command = ["unshare", "-m", "sh", "-c", script, sys.executable, code, str(make_image(8192))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert re.search(r"/dev/loop\d+", done.stderr)
    assert done.returncode == 1


def test_held_control_lock_is_named() -> None:
    with (
        bind.control_lock(),
        pytest.raises(Busy, match=f"pid {os.getpid()} holds /dev/loop-control"),
        bind.control_lock(limit=0.05),
    ):
        pytest.fail("two hold the lock")


def test_old_kernel_is_said(make_image: MakeImage, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(fd: int, config: loop.LoopConfig) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(loop, "loop_configure", unknown)
    real = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*real[:2], "5.4.0-42-generic", *real[3:])))
    with open_image(make_image(4096)) as image, pytest.raises(HostError, match=r"5\.4\.0-42-generic.*5\.8"):
        attach(image)
