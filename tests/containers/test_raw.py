"""A raw file is the media; it is opened so that nothing about it changes, and what is no file is one clear error."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.errors import ImageError, MediaReadError, NotPermitted, UnknownFormat, UsageError
from imgkit.image import Extent
from imgkit.linux.files import Identity, acting_as, take_read_lease
from tests.containers.sets import media

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOBODY = Identity(65534, 65534)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.dd"
    path.write_bytes(media(10_007))
    return path


def test_media_is_the_file(disk: Path, untouched: Callable[[], None]) -> None:
    untouched()
    with open_image(disk) as image:
        assert (image.format, image.size, image.path) == ("raw", 10_007, str(disk))
        assert [segment.path for segment in image.segments] == [str(disk)]
        assert image.segments[0].stat.st_ino == disk.stat().st_ino
        assert image.sector_size is None
        assert image.read_at(0, 20_000) == media(10_007)
        assert image.read_at(10_000, 100) == media(10_007)[10_000:]
        assert image.read_at(10_007, 1) == b""
        assert image.read_at(99_999, 5) == b""
        assert list(image.data_extents()) == [Extent(0, 10_007)]


def test_descriptor_is_read_only_close_on_exec_and_leaves_the_access_time(disk: Path) -> None:
    with open_image(disk) as image:
        fd = image.backing_fileno()
        assert fd is not None
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        assert flags & os.O_ACCMODE == os.O_RDONLY
        assert flags & os.O_NOATIME
        assert not flags & os.O_NONBLOCK
        assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        assert image.metadata["atime_may_change"] is False


def test_close_twice_leaves_no_descriptor(disk: Path) -> None:
    image = open_image(disk)
    fd = image.backing_fileno()
    assert fd is not None
    image.close()
    image.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert image.backing_fileno() == -1


@pytest.mark.parametrize("name", [b"a b", b"new\nline", b"\xff\xfe.dd", "дата.dd".encode(), b"-rf"])
def test_any_name(tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "wb") as file:
        file.write(b"x")
    with open_image(path) as image:
        assert os.fsencode(image.path) == path


def test_a_relative_path_becomes_absolute(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(disk.parent)
    with open_image("disk.dd") as image:
        assert image.path == str(disk)


def test_empty_file_is_an_image_of_size_0(tmp_path: Path) -> None:
    path = tmp_path / "empty.dd"
    path.touch()
    with open_image(path) as image:
        assert image.size == 0
        assert image.read_at(0, 10) == b""
        assert list(image.data_extents()) == []


def test_holes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "sparse.dd"
    with path.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 30)
        file.write(b"x" * 4096)
        file.seek((1 << 40) - 4096)
        file.write(b"y" * 4096)
    with open_image(path) as image:
        assert list(image.data_extents()) == [Extent(1 << 30, 4096), Extent((1 << 40) - 4096, 4096)]
        assert image.read_at((1 << 30) - 2, 4) == b"\0\0xx"


def test_a_file_cut_while_open_is_an_error_and_never_zeros(disk: Path) -> None:
    with open_image(disk) as image:
        os.truncate(disk, 5000)
        assert image.read_at(0, 5000) == media(10_007)[:5000]
        with pytest.raises(MediaReadError, match="shorter than when it was opened") as caught:
            image.read_at(4000, 4000)
        assert (caught.value.offset, caught.value.length) == (5000, 3000)
        with pytest.raises(MediaReadError, match="shorter"):
            list(image.data_extents())


def test_a_sparse_tail_cut_while_open_is_no_hole(tmp_path: Path) -> None:
    path = tmp_path / "sparse.dd"
    with path.open("wb") as file:
        file.write(b"x" * 4096)
        file.truncate(1 << 20)
    with open_image(path) as image:
        os.truncate(path, 4096)
        with pytest.raises(MediaReadError, match="shorter") as caught:
            list(image.data_extents())
        assert (caught.value.offset, caught.value.length) == (4096, (1 << 20) - 4096)


def test_a_failing_disk_names_the_range(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.preadv

    def bad_sector(fd: int, buffers: list[memoryview], offset: int) -> int:
        if offset <= 4096 < offset + len(buffers[0]):
            if offset == 4096:
                raise OSError(errno.EIO, "Input/output error")
            return whole(fd, [buffers[0][: 4096 - offset]], offset)
        return whole(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", bad_sector)
    with open_image(disk) as image, pytest.raises(MediaReadError, match="Input/output error") as caught:
        image.read_at(1000, 8000)
    assert (caught.value.offset, caught.value.length, caught.value.errno) == (4096, 4904, errno.EIO)


def test_threads_read_one_image(disk: Path) -> None:
    wrong: list[int] = []

    def read(image_offset: int) -> None:
        for step in range(200):
            offset = (image_offset + step * 37) % 10_000
            if image.read_at(offset, 500) != media(10_007)[offset : offset + 500]:
                wrong.append(offset)

    with open_image(disk) as image:
        threads = [threading.Thread(target=read, args=(start * 1000,)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot open .*No such file"):
        open_image(tmp_path / "gone.dd")


def test_what_is_no_file_is_refused_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path, kind in (
            (tmp_path, "a directory"),
            (tmp_path / "fifo", "a FIFO"),
            (tmp_path / "socket", "a socket"),
            ("/dev/null", "a character device"),
            ("/dev/zero", "a character device"),
        ):
            with pytest.raises(UnknownFormat, match=kind):
                open_image(path)


def test_a_fifo_swapped_in_behind_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, innocent = tmp_path / "disk.dd", tmp_path / "innocent"
    os.mkfifo(path)
    innocent.touch()
    looked = os.stat
    monkeypatch.setattr(os, "stat", lambda _path: looked(innocent))
    with pytest.raises(UnknownFormat, match="a FIFO"):
        open_image(path)


def test_a_dangling_symlink_and_a_loop(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("dangling", "loop"):
        with pytest.raises(ImageError, match="cannot open"):
            open_image(tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act as another user")
def test_a_file_we_may_not_read(tmp_path: Path, disk: Path) -> None:
    disk.chmod(0o600)
    open_up(tmp_path)
    with acting_as(NOBODY), pytest.raises(NotPermitted, match="Permission denied"):
        open_image(disk)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act as another user")
def test_anothers_file_is_read_without_noatime(tmp_path: Path, disk: Path) -> None:
    open_up(tmp_path)
    # setfsuid drops the capabilities that would allow O_NOATIME on another's file.
    with acting_as(NOBODY), open_image(disk) as image:
        assert image.metadata["atime_may_change"] is True
        fd = image.backing_fileno()
        assert fd is not None
        assert not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NOATIME
        assert image.read_at(0, 16) == media(10_007)[:16]


def open_up(directory: Path) -> None:
    """Let others reach tmp_path, whose parents pytest makes private."""
    for parent in (directory, *list(directory.parents)[:3]):
        if parent.owner() == "root" and "pytest" in str(parent):
            parent.chmod(parent.stat().st_mode | 0o055)


def test_sector_size_is_the_users_word(disk: Path) -> None:
    with open_image(disk, sector_size=4096) as image:
        assert (image.sector_size, image.sector_size_source) == (4096, "stated by the user")
    for wrong in (0, -512, 100, 513, 1 << 20):
        with pytest.raises(UsageError, match="sector size"):
            open_image(disk, sector_size=wrong)


def test_a_lease_can_be_taken_on_what_was_opened(disk: Path) -> None:
    with open_image(disk) as image:
        fd = image.backing_fileno()
        assert fd is not None
        take_read_lease(fd)
        assert fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_RDLCK


def test_a_name_that_promises_a_container_is_announced_as_raw(tmp_path: Path) -> None:
    path = tmp_path / "disk.E01"
    path.write_bytes(media(5000))
    with open_image(path) as image:
        assert image.format == "raw"
        notices = image.metadata["notices"]
    assert isinstance(notices, tuple)
    assert "no e01" in notices[0]
