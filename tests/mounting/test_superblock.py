"""What older kernels answer, and what the errors say: the calls are played, so every version can be."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from imgkit.errors import HostError, MountError, NotMountable, NotPermitted
from imgkit.filesystems.mount_options import FILESYSTEMS
from imgkit.linux import mount as kernel
from imgkit.mounting.superblock import Detached, detached_mount

if TYPE_CHECKING:
    from collections.abc import Mapping

NOSYMFOLLOW = kernel.MOUNT_ATTR_NOSYMFOLLOW


class Kernel:
    """Plays a kernel: which options give which error, what it logs, what it does not know."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refuses: Mapping[frozenset[str], int] = {}
        self.log: list[str] = []
        self.drivers = {"ext4", "xfs", "btrfs", "ntfs"}
        self.exclusive = True
        self.nosymfollow = True
        self.fsopen_error = errno.ENODEV
        self.asked: list[frozenset[str]] = []
        self._options: set[str] = set()
        for name in ("fsopen", "fsconfig_flag", "fsconfig_string", "fsconfig_create", "fsmount"):
            monkeypatch.setattr(kernel, name, getattr(self, name))
        monkeypatch.setattr(kernel, "context_messages", lambda _: [])
        monkeypatch.setattr(kernel.KernelLog, "about", lambda _, __: list(self.log))

    def fsopen(self, driver: str) -> int:
        if driver not in self.drivers:
            raise OSError(self.fsopen_error, os.strerror(self.fsopen_error))
        self._options = set()
        return os.open("/dev/null", os.O_RDONLY)

    def fsconfig_flag(self, _: int, key: str) -> None:
        self._options.add(key)

    def fsconfig_string(self, _: int, key: str, value: str) -> None:
        if key != "source":
            self._options.add(f"{key}={value}")

    def fsconfig_create(self, _: int, *, exclusive: bool) -> None:
        if exclusive and not self.exclusive:
            raise OSError(errno.EOPNOTSUPP, "not known")
        options = frozenset(self._options)
        self.asked.append(options)
        if options in self.refuses:
            number = self.refuses[options]
            raise OSError(number, os.strerror(number))

    def fsmount(self, _: int, attributes: int) -> int:
        if attributes & NOSYMFOLLOW and not self.nosymfollow:
            raise OSError(errno.EINVAL, "not known")
        return os.open("/dev/null", os.O_RDONLY)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def made(kind: str) -> Detached:
    detached = detached_mount("/dev/loop7", FILESYSTEMS[kind], kind)
    os.close(detached.fd)
    return detached


def options(*names: str) -> frozenset[str]:
    return frozenset(("ro", *names))


def test_plain_ro_comes_first_and_is_enough(played: Kernel) -> None:
    assert made("xfs").journal == "clean"
    assert played.asked == [options()]


def test_xfs_asks_for_as_little_as_it_can(played: Kernel) -> None:
    played.refuses = {options(): errno.EINVAL, options("nouuid"): errno.EROFS}
    detached = made("xfs")
    assert played.asked == [options(), options("nouuid"), options("nouuid", "norecovery")]
    assert (detached.view, detached.journal) == ("before-journal", "dirty")


def test_damage_is_not_called_a_dirty_journal(played: Kernel) -> None:
    played.refuses = {options("errors=continue"): errno.EUCLEAN}
    detached = made("ext4")
    assert (detached.view, detached.journal) == ("before-journal", "unknown")
    assert "mounting it plainly failed (Structure needs cleaning)" in detached.notices[0]


def test_btrfs_says_it_in_the_log_only(played: Kernel) -> None:
    played.refuses = {options(): errno.EIO}
    played.log = ["BTRFS warning (device loop7): log replay required on RO media"]
    assert made("btrfs").journal == "dirty"


def test_before_linux_6_6_there_is_no_exclusive_create(played: Kernel) -> None:
    played.exclusive = False
    assert made("ext4").view == "current"


def test_before_linux_5_14_there_is_no_nosymfollow(played: Kernel) -> None:
    assert "nosymfollow" in made("ext4").options
    played.nosymfollow = False
    assert {"ro", "nosuid", "nodev", "noexec"} < set(made("ext4").options)
    assert "nosymfollow" not in made("ext4").options


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EBUSY, "it is mounted already, in this or another mount namespace, or in use"),
        (errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_what_options_cannot_help_is_not_tried_again(played: Kernel, number: int, reason: str) -> None:
    played.refuses = {options(): number}
    with pytest.raises(MountError, match=reason):
        made("btrfs")
    assert played.asked == [options()]


def test_a_btrfs_whose_uuid_is_mounted_before_linux_6_7(played: Kernel) -> None:
    every = (options(), options("rescue=nologreplay"), options("rescue=all"))
    played.refuses = dict.fromkeys(every, errno.EEXIST)
    with pytest.raises(MountError, match="a file system with the same UUID is mounted"):
        made("btrfs")


def test_the_error_has_the_last_of_the_kernels_words(played: Kernel) -> None:
    played.refuses = {options(): errno.EINVAL, options("nouuid"): errno.EINVAL}
    played.refuses = {**played.refuses, options("nouuid", "norecovery"): errno.EINVAL}
    played.log = [f"XFS (loop7): {number}" for number in range(9)]
    with pytest.raises(MountError) as caught:
        made("xfs")
    assert caught.value.message.endswith(
        "says: XFS (loop7): 5; XFS (loop7): 6; XFS (loop7): 7; XFS (loop7): 8"
    )


def test_the_second_driver_of_a_type_is_taken(played: Kernel) -> None:
    assert made("ntfs").driver == "ntfs"


def test_no_driver(played: Kernel) -> None:
    played.drivers = set()
    with pytest.raises(NotMountable, match="this kernel has no driver for ntfs") as caught:
        made("ntfs")
    assert caught.value.hint == "ntfs-3g -o ro /dev/loop7 DIR"
    with pytest.raises(NotMountable, match="Linux has no driver for apfs"):
        made("apfs")


@pytest.mark.parametrize(("number", "kind"), [(errno.EPERM, NotPermitted), (errno.ENOSYS, HostError)])
def test_what_the_host_does_not_allow(played: Kernel, number: int, kind: type[Exception]) -> None:
    played.drivers, played.fsopen_error = set(), number
    with pytest.raises(kind):
        made("ext4")


def test_no_descriptor_is_left(played: Kernel) -> None:
    before = len(os.listdir("/proc/self/fd"))
    played.refuses = {options(): errno.EROFS, options("nouuid"): errno.EROFS}
    made("xfs")
    played.refuses = {options(): errno.EBUSY}
    with pytest.raises(MountError):
        made("xfs")
    assert len(os.listdir("/proc/self/fd")) == before
