"""mountinfo, the kernel's log and the calls themselves; none of this needs root."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgkit.linux import mount
from imgkit.linux.mount import _kernel_line, _MountAttr

if TYPE_CHECKING:
    from pathlib import Path

LINE = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue"


def escaped(text: str) -> bytes:
    """As the kernel's mangle() writes a field."""
    raw = os.fsencode(text)
    return b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in raw)


def test_the_example_of_proc_rst() -> None:
    info = mount.parse_mountinfo_line(LINE)
    assert (info.mount_id, info.parent_id, info.device) == (36, 35, os.makedev(98, 0))
    assert (info.root, info.target) == ("/mnt1", "/mnt2")
    assert info.options == ("rw", "noatime")
    assert info.propagation == ("master:1", "shared:7")
    assert (info.filesystem, info.source) == ("ext3", "/dev/root")
    assert info.super_options == ("rw", "errors=continue")


def test_no_optional_fields_means_private() -> None:
    info = mount.parse_mountinfo_line(LINE.replace(b" master:1 shared:7", b""))
    assert info.propagation == ()
    assert info.filesystem == "ext3"


@given(st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
def test_every_name_comes_back(name: str) -> None:
    line = LINE.replace(b"/mnt2", escaped("/" + name)).replace(b"/dev/root", escaped("/dev/" + name))
    info = mount.parse_mountinfo_line(line)
    assert info.target == "/" + name
    assert info.source == "/dev/" + name


@pytest.mark.parametrize(
    "target", [rb"/a\040b", rb"/a\011b", rb"/a\012b", rb"/a\134040b", b"/\xff\xfe", rb"/a\134"]
)
def test_bytes_that_are_no_text_come_back(target: bytes) -> None:
    info = mount.parse_mountinfo_line(LINE.replace(b"/mnt2", target))
    assert escaped(info.target) == target


@pytest.mark.parametrize("line", [b"", b"36 35 98:0 / /x rw", b"a b 98:0 / /x rw - ext4 x rw", b"- -  - "])
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"mountinfo|invalid literal"):
        mount.parse_mountinfo_line(line)


def test_our_own_namespace() -> None:
    mounts = mount.read_mountinfo()
    roots = [info for info in mounts if info.target == "/"]
    assert roots
    assert os.stat("/").st_dev in {info.device for info in roots}
    assert len({info.mount_id for info in mounts}) == len(mounts)


def test_mount_id_of_a_descriptor(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    try:
        number = mount.mount_id_of(fd)
    finally:
        os.close(fd)
    info = next(info for info in mount.read_mountinfo() if info.mount_id == number)
    assert str(tmp_path).startswith(info.target)


def test_the_structure_has_the_kernels_size() -> None:
    assert ctypes.sizeof(_MountAttr) == 32  # MOUNT_ATTR_SIZE_VER0


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (b"3,1,2,-;EXT4-fs (loop3): bad\n SUBSYSTEM=block\n", "EXT4-fs (loop3): bad"),
        (b"6,1,2,c;XFS (loop3): \\x1b[31m\n", "XFS (loop3): ?[31m"),
        (b"14,1,2,-;EXT4-fs (loop3): forged by a process\n", None),
        (b"nonsense", None),
        (b"", None),
    ],
)
def test_only_the_kernels_own_lines_count(record: bytes, text: str | None) -> None:
    assert _kernel_line(record) == text


def test_log_lines_are_told_apart_by_the_whole_name(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "XFS (loop3): a",
        "XFS (loop31): b",
        "BTRFS error (device loop3 state E): c",
        "x /dev/loop3 d",
        "y aloop3",
    ]
    with mount.KernelLog() as log:
        monkeypatch.setattr(
            mount.KernelLog, "_records", lambda _: [b"3,1,2,-;" + line.encode() for line in lines]
        )
        assert log.about("loop3") == [lines[0], lines[2], lines[3]]


def test_a_log_that_may_not_be_read_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(os, "open", refuse)
    with mount.KernelLog() as log:
        assert not log.readable
        assert log.about("loop3") == []


def test_a_driver_that_does_not_exist_is_an_error_with_its_name() -> None:
    with pytest.raises(OSError, match="no-such-fs") as refused:
        mount.fsopen("no-such-fs")
    assert refused.value.errno == (errno.ENODEV if os.geteuid() == 0 else errno.EPERM)


def test_unmount_of_what_is_no_mount_point(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=str(tmp_path)) as refused:
        mount.umount2(str(tmp_path))
    assert refused.value.errno == (errno.EINVAL if os.geteuid() == 0 else errno.EPERM)


@pytest.mark.live
@pytest.mark.usefixtures("live")
def test_the_kernel_says_what_is_wrong_with_an_option() -> None:
    context = mount.fsopen("ext4")
    try:
        with pytest.raises(OSError, match="no_such_option") as refused:
            mount.fsconfig_flag(context, "no_such_option")
        assert refused.value.errno == errno.EINVAL
        assert any("no_such_option" in message for message in mount.context_messages(context))
    finally:
        os.close(context)
