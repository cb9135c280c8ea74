"""The kernel calls that os lacks, on a real kernel."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgkit.linux import files
from imgkit.linux.files import Identity, acting_as

if TYPE_CHECKING:
    from collections.abc import Iterator

STRANGER = Identity(54321, 54322, (54324, 54323))

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as somebody else")


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that everybody may write to (pytest's own are closed to strangers)."""
    with tempfile.TemporaryDirectory(prefix="imgkit-test-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def test_a_regular_file_is_opened_and_nothing_else(tmp_path: Path) -> None:
    """No wait for the writer of a FIFO, no way out through a link, no descriptor left (see tests/conftest.py)."""
    (tmp_path / "file").write_bytes(b"evidence")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with files.open_regular(tmp_path / "file") as file:
        assert (file.read(), os.get_inheritable(file.fileno())) == (b"evidence", False)
    with files.open_regular(str(tmp_path / "link"), follow=True) as file:
        assert file.read() == b"evidence"
    for name, number in (("link", errno.ELOOP), ("folder", errno.EISDIR), ("fifo", errno.EINVAL)):
        with pytest.raises(OSError, match=name) as caught:
            files.open_regular(tmp_path / name)
        assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / name))


def test_fallocate_reserves_and_keeps_the_size(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        files.fallocate_keep_size(file.fileno(), 0, 128 << 10)
        found = os.fstat(file.fileno())
    assert (found.st_size, found.st_blocks * 512 >= 128 << 10) == (0, True)


def test_fallocate_tells_the_errno(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file, pytest.raises(OSError, match="Invalid argument") as caught:
        files.fallocate_keep_size(file.fileno(), -1, 1)
    assert caught.value.errno == errno.EINVAL


def test_rename_does_not_replace(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("old")
    files.renameat2_noreplace(str(old), str(new))
    assert new.read_text() == "old"
    old.write_text("other")
    with pytest.raises(FileExistsError) as caught:
        files.renameat2_noreplace(str(old), str(new))
    assert caught.value.filename == str(new)
    assert (old.read_text(), new.read_text()) == ("other", "old")


def test_rename_below_directory_descriptors(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("x")
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        files.renameat2_noreplace(b"old", b"new", old_dir_fd=folder, new_dir_fd=folder)
    finally:
        os.close(folder)
    assert (tmp_path / "new").exists()


def test_statfs_names_the_file_system(tmp_path: Path) -> None:
    assert files.statfs_type("/dev/shm") == files.TMPFS_MAGIC
    assert files.statfs_type(b"/proc") == 0x9FA0  # PROC_SUPER_MAGIC
    with Path("/proc/self/stat").open("rb") as file:
        assert files.statfs_type(file.fileno()) == 0x9FA0
    with pytest.raises(FileNotFoundError):
        files.statfs_type(str(tmp_path / "absent"))


def test_clock_state_is_the_kernels() -> None:
    assert files.clock_unsynchronised() in (True, False)


def test_lease_keeps_writers_waiting(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    fd = os.open(path, os.O_RDONLY)
    try:
        files.take_read_lease(fd)
        assert fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_RDLCK
        with pytest.raises(BlockingIOError):
            os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        files.release_lease(fd)
        assert fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_UNLCK
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    finally:
        os.close(fd)


def test_lease_is_refused_while_somebody_writes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    with path.open("ab"), path.open("rb") as reader, pytest.raises(BlockingIOError):
        files.take_read_lease(reader.fileno())


def test_no_identity_changes_nothing() -> None:
    before = Identity.of_thread()
    with acting_as(None):
        assert Identity.of_thread() == before
    with acting_as(before):
        assert Identity.of_thread() == before


@needs_root
def test_acting_as_somebody_touches_files_as_they(common: Path) -> None:
    before, secret = Identity.of_thread(), common / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    with acting_as(STRANGER):
        assert os.geteuid() == 0  # ioctls and mounts go on as root
        assert Identity.of_thread() == STRANGER
        (common / "made").write_text("x")
        with pytest.raises(PermissionError):
            secret.read_text()
    assert Identity.of_thread() == before
    made = (common / "made").stat()
    assert (made.st_uid, made.st_gid) == (54321, 54322)
    assert secret.read_text() == "x"


@needs_root
def test_acting_as_nests_and_survives_errors() -> None:
    other = Identity(1, 2, ())
    before = Identity.of_thread()
    with acting_as(STRANGER):
        with contextlib.suppress(ZeroDivisionError), acting_as(other):
            assert Identity.of_thread() == other
            raise ZeroDivisionError
        assert Identity.of_thread() == STRANGER
        with acting_as(before):
            assert Identity.of_thread() == before
        assert Identity.of_thread() == STRANGER
    assert Identity.of_thread() == before


@needs_root
def test_acting_as_changes_the_calling_thread_alone() -> None:
    seen: list[Identity] = []
    inside, looked = threading.Event(), threading.Event()

    def other() -> None:
        inside.wait(10)
        seen.append(Identity.of_thread())
        looked.set()

    before = Identity.of_thread()
    thread = threading.Thread(target=other)
    thread.start()
    with acting_as(STRANGER):
        inside.set()
        assert looked.wait(10)
    thread.join()
    assert seen == [before]


def test_an_ordinary_user_becomes_nobody_else() -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(54321, 54321, 54321)
                os.setresuid(54321, 54321, 54321)
            with pytest.raises(PermissionError), acting_as(Identity(0, 0, ())):
                code = 2
            code = 0 if Identity.of_thread().uid == os.geteuid() else 3
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_setgroups_of_an_unknown_machine_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_SYS_SETGROUPS", {})
    with pytest.raises(OSError, match="not known") as caught:
        files._set_groups(())
    assert caught.value.errno == errno.ENOSYS
