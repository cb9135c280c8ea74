"""What mount and unmount refuse, what they say then, and that nothing is left."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgkit.attachment import attach
from imgkit.containers import open_image
from imgkit.errors import MountError, NotMountable, NotPermitted
from imgkit.filesystems.signatures import identify
from imgkit.image import Extent
from imgkit.linux.files import Identity
from imgkit.linux.mount import read_mountinfo
from imgkit.mounting import Mount, mount, unmount
from tests.conftest import ROOT
from tests.live import filesystems
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.attachment import Attachment

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live"), pytest.mark.xdist_group("mount")]

NOBODY = Identity(65534, 65534)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("refusals")


@pytest.fixture(scope="module")
def image(folder: Path) -> Path:
    """An ext4 with a few files."""
    filesystems.make_tree(folder / "tree")
    filesystems.make_clean(folder / "ext4.img", "ext4", folder / "tree")
    return folder / "ext4.img"


@pytest.fixture
def ext4(image: Path) -> Iterator[Attachment]:
    before = filesystems.facts(image)
    with open_image(str(image)) as media, attach(media) as device:
        yield device.attachment
    assert filesystems.facts(image) == before


@pytest.fixture
def shown(ext4: Attachment, tmp_path: Path) -> Iterator[Mount]:
    mounted = mount(ext4, str(tmp_path / "seen"), filesystem="ext4")
    yield mounted
    if mounted_at(mounted.target):
        unmount(mounted.target, created=mounted.created)


def mounted_at(target: str | Path) -> bool:
    return any(info.target == str(target) for info in read_mountinfo())


def refused(attachment: Attachment, directory: Path, kind: str = "ext4") -> MountError:
    """The error; nothing is mounted and no directory is left that was not there."""
    existed = os.path.lexists(directory)
    with pytest.raises(MountError) as caught:
        mount(attachment, str(directory), filesystem=kind)
    assert not mounted_at(directory)
    assert os.path.lexists(directory) == existed
    return caught.value


def test_a_file_as_directory(ext4: Attachment, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert "it is no directory" in refused(ext4, tmp_path / "file").message
    assert "it is no directory" in refused(ext4, tmp_path / "file" / "below").message


def test_a_directory_with_content(ext4: Attachment, tmp_path: Path) -> None:
    (tmp_path / "hidden").write_bytes(b"x")
    assert "it is not empty" in refused(ext4, tmp_path).message


def test_a_symbolic_link(ext4: Attachment, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    assert "it is a symbolic link" in refused(ext4, tmp_path / "link").message
    (tmp_path / "dangling").symlink_to("nowhere")
    assert "it is a symbolic link" in refused(ext4, tmp_path / "dangling").message


def test_a_mount_point(shown: Mount, folder: Path) -> None:
    with (
        open_image(str(folder / "ext4.img")) as media,
        attach(media) as second,
        pytest.raises(MountError) as caught,
    ):
        mount(second.attachment, shown.target, filesystem="ext4")
    assert "something is mounted there already" in caught.value.message


def test_the_same_device_twice(ext4: Attachment, shown: Mount, tmp_path: Path) -> None:
    error = refused(ext4, tmp_path / "again")
    assert f"it is mounted already, at {shown.target}" in error.message
    assert error.hint == f"imgkit unmount {shown.target}"


def test_directories_are_made_and_taken_away(ext4: Attachment, tmp_path: Path) -> None:
    target = tmp_path / "a" / "b c" / "größe\n"
    mounted = mount(ext4, str(target), filesystem="ext4")
    assert mounted.target == str(target)
    assert mounted.created == tuple(str(path) for path in (tmp_path / "a", tmp_path / "a" / "b c", target))
    unmount(str(target), created=mounted.created)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_directory_stays(ext4: Attachment, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    mounted = mount(ext4, str(tmp_path / "mine"), filesystem="ext4")
    assert mounted.created == ()
    unmount(mounted.target, created=mounted.created)
    assert (tmp_path / "mine").is_dir()


def test_below_run_imgkit_everything_empty_is_taken_away(ext4: Attachment, tmp_path: Path) -> None:
    case = Path("/run/imgkit") / f"test-{os.getpid()}"
    mounted = mount(ext4, str(case / "p1"), filesystem="ext4")
    unmount(mounted.target)
    assert not case.exists()


def test_with_the_rights_of_whom_it_is_for(ext4: Attachment, tmp_path: Path) -> None:
    """Root's powers do not reach where the user could not, and what is made belongs to the user."""
    tmp_path.chmod(0o755)
    with pytest.raises(NotPermitted, match="not permitted to use"):
        mount(ext4, str(tmp_path / "roots"), filesystem="ext4", identity=NOBODY)
    assert not (tmp_path / "roots").exists()
    own = tmp_path / "own"
    own.mkdir()
    os.chown(own, NOBODY.uid, NOBODY.gid)
    for parent in tmp_path.parents[:3]:
        if parent.stat().st_mode & 0o077 == 0 and parent.owner() == "root":
            parent.chmod(0o711)
    mounted = mount(ext4, str(own / "seen"), filesystem="ext4", identity=NOBODY)
    unmount(mounted.target)
    assert (own / "seen").stat().st_uid == NOBODY.uid


def test_a_writable_device_is_never_mounted(image: Path, ext4: Attachment, tmp_path: Path) -> None:
    copy = tmp_path / "copy.img"
    copy.write_bytes(filesystems.read_untouched(image))
    before = filesystems.facts(copy)
    found = subprocess.run(["losetup", "-f", "--show", copy], capture_output=True, text=True, check=True)
    device = found.stdout.strip()
    try:
        lying = dataclasses.replace(ext4, device=device, number=int(device[9:]), diskseq=None)
        assert "the kernel says that it is not read-only" in refused(lying, tmp_path / "seen").message
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
    assert filesystems.facts(copy).sha256 == before.sha256


def test_a_device_that_is_bound_to_something_else_by_now(ext4: Attachment, tmp_path: Path) -> None:
    assert ext4.diskseq is not None
    stale = dataclasses.replace(ext4, diskseq=ext4.diskseq - 1)
    assert "bound to something else" in refused(stale, tmp_path / "seen").message
    gone = dataclasses.replace(ext4, device="/dev/loop4711")
    assert "No such file" in refused(gone, tmp_path / "seen").message


def test_the_wrong_type_and_the_kernels_words(ext4: Attachment, tmp_path: Path) -> None:
    error = refused(ext4, tmp_path / "seen", "xfs")
    assert f"cannot mount {ext4.device} as xfs: " in error.message
    assert "the kernel says: XFS" in error.message


def test_a_damaged_file_system(image: Path, tmp_path: Path) -> None:
    """The kernel's reason comes with the error; the image stays as it was."""
    damaged = tmp_path / "damaged.img"
    content = bytearray(filesystems.read_untouched(image))
    content[1024 + 4 : 1024 + 8] = b"\xff" * 4  # s_blocks_count
    damaged.write_bytes(content)
    before = filesystems.facts(damaged)
    with open_image(str(damaged)) as media, attach(media) as device:
        message = refused(device.attachment, tmp_path / "seen").message
    assert "the kernel says: EXT4-fs" in message
    assert filesystems.facts(damaged) == before


def test_a_driver_that_this_kernel_lacks(ext4: Attachment, tmp_path: Path) -> None:
    known = Path("/proc/filesystems").read_text().split()
    kind, command = ("ntfs", "ntfs-3g -o ro") if "ntfs3" not in known else ("apfs", "apfs-fuse")
    with pytest.raises(NotMountable, match="driver for") as caught:
        mount(ext4, str(tmp_path / "seen"), filesystem=kind)
    assert caught.value.hint == f"{command} {ext4.device} DIR"
    assert not (tmp_path / "seen").exists()


def luks(path: Path) -> None:
    path.write_bytes(b"LUKS\xba\xbe\x00\x01".ljust(1 << 20, b"\0"))


def lvm(path: Path) -> None:
    covered = ((32).to_bytes(4, "little") + b"LVM2 001" + b"0123456789abcdef" * 2).ljust(512 - 20, b"\0")
    # LVM's CRC-32 has another start value and no final inversion.
    crc = zlib.crc32(covered, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
    label = b"LABELONE" + (1).to_bytes(8, "little") + crc.to_bytes(4, "little") + covered
    path.write_bytes((bytes(512) + label).ljust(4 << 20, b"\0"))


def bitlocker(path: Path) -> None:
    """The boot sector of Windows 7 and later, and the block of metadata it points to."""
    boot = bytearray(512)
    boot[0:11] = b"\xeb\x58\x90-FVE-FS-"
    boot[160:176] = bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
    boot[176:184] = (4096).to_bytes(8, "little")
    metadata = b"-FVE-FS-" + (64).to_bytes(2, "little") + (2).to_bytes(2, "little")
    path.write_bytes((bytes(boot).ljust(4096, b"\0") + metadata).ljust(1 << 20, b"\0"))


def swap(path: Path) -> None:
    path.write_bytes(bytes(1 << 20))
    subprocess.run(["mkswap", str(path)], check=True, capture_output=True)


def raid(path: Path) -> None:
    """Linux md metadata 1.2: the magic 4096 bytes in, with its own position."""
    block = bytearray(4096)
    block[0:8] = (0xA92B4EFC).to_bytes(4, "little") + (1).to_bytes(4, "little")
    block[128:136] = (8).to_bytes(8, "little")  # data_offset
    block[144:152] = (8).to_bytes(8, "little")  # super_offset in sectors
    total = sum(int.from_bytes(block[at : at + 4], "little") for at in range(0, 256, 4))
    block[216:220] = ((total & 0xFFFFFFFF) + (total >> 32)).to_bytes(4, "little")
    path.write_bytes((bytes(4096) + bytes(block)).ljust(4 << 20, b"\0"))


@pytest.mark.parametrize(
    ("make", "name", "command"),
    [
        (luks, "a LUKS encrypted volume", "cryptsetup open --readonly --type luks {device} NAME"),
        (lvm, "an LVM physical volume", "pvs {device} names the volume group"),
        (bitlocker, "a BitLocker encrypted volume", "cryptsetup open --readonly --type bitlk {device} NAME"),
        (swap, "swap space", "read from {device}"),
        (raid, "a member of a Linux md array", "mdadm --assemble --readonly --run /dev/md/NAME {device}"),
    ],
)
def test_what_is_no_file_system(make: object, name: str, command: str, tmp_path: Path) -> None:
    assert callable(make)
    make(tmp_path / "image")
    with open_image(str(tmp_path / "image")) as media, attach(media) as device:
        found = identify(media, Extent(0, media.size))
        assert found is not None
        with pytest.raises(NotMountable) as caught:
            mount(device.attachment, str(tmp_path / "seen"), filesystem=found.type)
        assert f"it holds {name}, no file system" in caught.value.message
        assert command.format(device=device.attachment.device) in (caught.value.hint or "")


def in_use(target: str) -> str:
    with pytest.raises(MountError) as caught:
        unmount(target, timeout=0.05)
    assert mounted_at(target)
    return caught.value.message


def test_who_works_in_a_mount_is_named(shown: Mount) -> None:
    sleeper = subprocess.Popen(["sleep", "60"], cwd=shown.target + "/folder")
    try:
        assert f"pid {sleeper.pid} (sleep) works in it" in in_use(shown.target)
    finally:
        sleeper.kill()
        sleeper.wait()


def test_who_has_a_file_open_is_named(shown: Mount) -> None:
    with open(shown.target + "/early.txt", "rb"):
        assert f"pid {os.getpid()}" in (message := in_use(shown.target))
    assert "has a file of it open" in message


def test_who_has_a_file_mapped_is_named(shown: Mount) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # Python's own mmap keeps a descriptor
    libc.mmap.restype = ctypes.c_void_p
    with open(shown.target + "/folder/big.bin", "rb") as file:
        mapped = libc.mmap(None, ctypes.c_size_t(4096), 1, 2, file.fileno(), ctypes.c_long(0))
    try:
        assert "has a file of it mapped" in in_use(shown.target)
    finally:
        libc.munmap(ctypes.c_void_p(mapped), ctypes.c_size_t(4096))


def test_a_mount_in_a_mount_is_named(shown: Mount) -> None:
    inner = shown.target + "/folder"
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", inner], check=True)
    try:
        assert f"{inner} is mounted in it" in in_use(shown.target)
    finally:
        subprocess.run(["umount", inner], check=True)


def test_unmount_waits_for_who_is_about_to_leave(shown: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever works there leaves while unmount sleeps, which it does only after it was refused."""
    sleeper = subprocess.Popen(["sleep", "60"], cwd=shown.target)

    def leave(_: float) -> None:
        sleeper.kill()
        sleeper.wait()

    try:
        with monkeypatch.context() as patch:
            patch.setattr(time, "sleep", leave)
            unmount(shown.target, timeout=30)
        assert sleeper.returncode is not None
    finally:
        leave(0)
    assert not mounted_at(shown.target)


def test_unmount_of_what_is_not_ours(tmp_path: Path) -> None:
    with pytest.raises(MountError, match="nothing is mounted there"):
        unmount(str(tmp_path))
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], check=True)
    try:
        with pytest.raises(MountError, match="refused to unmount"):
            unmount(str(tmp_path))
        assert mounted_at(tmp_path)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_unmount_of_another_device_than_was_meant(shown: Mount) -> None:
    with pytest.raises(MountError, match=f"{shown.source} .ext4. is mounted there"):
        unmount(shown.target, source="/dev/loop4711")
    assert mounted_at(shown.target)


def test_a_mount_below_a_shared_one_is_private(ext4: Attachment, tmp_path: Path) -> None:
    """What is mounted in the evidence later stays out of other namespaces."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], check=True)
    try:
        subprocess.run(["mount", "--make-shared", tmp_path], check=True)
        mounted = mount(ext4, str(tmp_path / "seen"), filesystem="ext4")
        info = next(info for info in read_mountinfo() if info.target == mounted.target)
        unmount(mounted.target)
        assert info.propagation == ()
    finally:
        subprocess.run(["umount", "-R", tmp_path], check=True)


UNPRIVILEGED = """
import os, sys
from imgkit.attachment import Attachment
from imgkit.errors import NotPermitted
from imgkit.mounting.superblock import detached_mount
from imgkit.filesystems.mount_options import FILESYSTEMS
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    detached_mount("/dev/loop0", FILESYSTEMS["ext4"], "ext4")
except NotPermitted as error:
    print(error.message)
"""


def test_without_the_capability(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout == "not permitted to mount /dev/loop0: it needs CAP_SYS_ADMIN\n"


@pytest.mark.alone  # its mount namespace holds what other tests have mounted
def test_a_namespace_that_copied_the_mount_lets_go_with_us(ext4: Attachment, tmp_path: Path) -> None:
    """A service with a mount namespace of its own, started before or after, must not keep the evidence busy."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], check=True)
    subprocess.run(["mount", "--make-shared", tmp_path], check=True)
    others = []
    try:
        others.append(namespace_of_its_own(tmp_path))
        mounted = mount(ext4, str(tmp_path / "seen"), filesystem="ext4")
        others.append(namespace_of_its_own(tmp_path))
        before = [sees(other.pid, mounted.target) for other in others]
        unmount(mounted.target)
        assert before == [True, True]
        assert [sees(other.pid, mounted.target) for other in others] == [False, False]
    finally:
        for other in others:
            other.kill()
            other.wait()
        subprocess.run(["umount", "-R", tmp_path], check=True)


def namespace_of_its_own(folder: Path) -> subprocess.Popen[bytes]:
    argv = ["unshare", "--mount", "--propagation", "slave", "sleep", "60"]
    process = subprocess.Popen(argv)
    wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")
    assert sees(process.pid, str(folder))
    return process


def sees(pid: int, target: str) -> bool:
    return any(info.target == target for info in read_mountinfo(f"/proc/{pid}/mountinfo"))
