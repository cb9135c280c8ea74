"""The structures have the header's sizes and offsets; names and numbers survive a round trip."""

from __future__ import annotations

import os
import struct

import pytest

from imgkit.linux import blockdev, loop, sysblock


def test_sizes_are_the_headers() -> None:
    assert len(loop.LoopInfo64().pack()) == 232
    assert len(loop.LoopConfig(0, 512, loop.LoopInfo64()).pack()) == 304


def test_fields_lie_where_the_header_has_them() -> None:
    info = loop.LoopInfo64(1, 2, 3, 4, 5, 6, 7, b"imgkit:x")
    raw = info.pack()
    assert struct.unpack_from("=5Q", raw, 0) == (1, 2, 3, 4, 5)
    assert struct.unpack_from("=I", raw, 40) == (6,)
    assert struct.unpack_from("=I", raw, 52) == (7,)
    assert raw[56:64] == b"imgkit:x"
    config = loop.LoopConfig(9, 4096, info).pack()
    assert struct.unpack_from("=II", config) == (9, 4096)
    assert config[8:240] == raw
    assert config[240:] == bytes(64)
    assert loop.LoopInfo64.unpack(raw) == info


def test_name_keeps_its_closing_nul() -> None:
    raw = loop.LoopInfo64(lo_file_name=b"x" * 100).pack()
    assert raw[56:120] == b"x" * 63 + b"\0"
    assert raw[120:184] == bytes(64)


def test_numbers_are_the_kernels() -> None:
    numbers = (blockdev.BLKGETSIZE64, blockdev.BLKGETDISKSEQ, loop.LOOP_CONFIGURE, loop.LOOP_CTL_GET_FREE)
    assert numbers == (0x80081272, 0x80081280, 0x4C0A, 0x4C82)


def test_errors_are_the_kernels(tmp_path: os.PathLike[str]) -> None:
    fd = os.open(os.path.join(tmp_path, "file"), os.O_RDONLY | os.O_CREAT)
    try:
        with pytest.raises(OSError, match="Inappropriate ioctl"):
            blockdev.blkgetsize64(fd)
        with pytest.raises(OSError, match="Inappropriate ioctl"):
            loop.loop_get_status64(fd)
    finally:
        os.close(fd)


def test_a_disk_that_is_not_there_is_none() -> None:
    assert sysblock.read_attribute("loop99999", "ro") is None
    assert sysblock.read_counters("loop99999") is None
    assert sysblock.device_number("loop99999") is None
    assert sysblock.holders_of("loop99999") == []
    assert not sysblock.loop_is_bound(99999)
    assert sysblock.folder_of(os.makedev(511, 99)) is None
