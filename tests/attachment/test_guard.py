"""Nobody writes while an image is attached, and nobody is attached to while somebody writes."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from imgkit.attachment import attach, guard, list_attachments, writers_of
from imgkit.containers import open_image
from imgkit.errors import Busy
from imgkit.linux.files import release_lease

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

WRITE = "import os, sys; os.open(sys.argv[1], os.O_RDWR); print('open', flush=True); sys.stdin.read()"


def test_writer_is_named(scratch_image: Path) -> None:
    command = [sys.executable, "-c", WRITE, str(scratch_image)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        wanted = rf"pid {writer.pid} \(python.*\) has it open for writing"
        with open_image(scratch_image) as image, pytest.raises(Busy, match=wanted) as caught:
            attach(image)
        assert "acquisition" in (caught.value.hint or "")
        writer.communicate()
    assert writers_of(str(scratch_image)) == ()


def test_shared_writable_mapping_is_named(scratch_image: Path) -> None:
    with scratch_image.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    wanted = (
        rf"pid {os.getpid()} \(.*\) has it (mapped|open) for writing"  # mmap keeps a descriptor of its own
    )
    with mapped, open_image(scratch_image) as image, pytest.raises(Busy, match=wanted):
        attach(image)


def test_mapping_alone_is_found(scratch_image: Path) -> None:
    code = (
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p\n"
        "fd = os.open(sys.argv[1], os.O_RDWR)\n"
        "libc.mmap(None, ctypes.c_size_t(4096), 3, 1, fd, ctypes.c_long(0)); os.close(fd)\n"
        "print('mapped', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(scratch_image)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        assert [(found.pid, found.what) for found in writers_of(str(scratch_image))] == [
            (writer.pid, "has it mapped for writing")
        ]
        with open_image(scratch_image) as image, pytest.raises(Busy, match=f"pid {writer.pid}"):
            attach(image)
        writer.communicate()


def test_writable_loop_device_is_named(scratch_image: Path) -> None:
    command = ["losetup", "-f", "--show", str(scratch_image)]
    device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        with (
            open_image(scratch_image) as image,
            pytest.raises(Busy, match=f"{device} is bound to it read-write"),
        ):
            attach(image)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def test_writer_that_cannot_be_seen(scratch_image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "writers_of", lambda _: ())
    monkeypatch.setattr(guard, "_UNSEEN_WAIT", 0.1)
    with (
        scratch_image.open("r+b"),
        open_image(scratch_image) as image,
        pytest.raises(Busy, match="cannot be seen"),
    ):
        attach(image)


def test_writer_that_is_just_closing_is_waited_for(
    scratch_image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = scratch_image.open("r+b")

    def just_closing(_: int) -> tuple[()]:
        file.close()
        return ()

    monkeypatch.setattr(guard, "writers_of", just_closing)
    with open_image(scratch_image) as image, attach(image) as device:
        assert file.closed
        assert device.attachment.guard == "lease"


def test_later_writer_waits_and_we_survive_its_signal(scratch_image: Path) -> None:
    with open_image(scratch_image) as image, attach(image) as device:
        with pytest.raises(BlockingIOError):
            os.open(scratch_image, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.02)  # the kernel's SIGURG has been delivered; its default SIGIO would have killed us
        assert signal.getsignal(signal.SIGURG) == signal.SIG_DFL
        found = next(found for found in list_attachments() if found.is_same_as(device.attachment))
        assert found.guard == "none"  # being broken: the next writer will be let in


def test_attach_waits_for_a_lease_that_is_being_broken(
    scratch_image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer was turned away (O_NONBLOCK): nobody holds the file, and yet the kernel refuses a lease for a while."""
    with open_image(scratch_image) as first, open_image(scratch_image) as second:
        fd = first.backing_fileno()
        assert fd is not None
        with attach(first):
            with pytest.raises(BlockingIOError):
                os.open(scratch_image, os.O_WRONLY | os.O_NONBLOCK)
            timer = threading.Timer(0.3, release_lease, (fd,))
            timer.start()
            with attach(second) as device:
                assert device.attachment.guard == "lease"
            timer.join()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EACCES, errno.EOPNOTSUPP])
def test_no_lease_is_said(number: int, scratch_image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(guard, "take_read_lease", refuse)
    with open_image(scratch_image) as image, attach(image) as device:
        assert device.attachment.guard == "none"
        assert any("verify afterwards" in notice for notice in device.attachment.notices)


def test_access_time_is_kept_or_the_notice_is_there(scratch_image: Path) -> None:
    with open_image(scratch_image) as image, attach(image) as device:
        assert not any("access time" in notice for notice in device.attachment.notices)
        import fcntl

        fd = image.backing_fileno()
        assert fd is not None
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NOATIME)
        with attach(image) as other:
            assert any("access time" in notice for notice in other.attachment.notices)


@pytest.mark.alone  # its mount namespace holds what other tests have mounted
def test_guard_is_unknown_where_the_kernel_hides_it(scratch_image: Path) -> None:
    """/proc/locks of another pid namespace leaves out the leases of those who exited."""
    with open_image(scratch_image) as image, attach(image) as device:
        attachment = device.attachment
        code = (
            "import sys\n"
            "from imgkit.attachment import list_attachments\n"
            "print([found.guard for found in list_attachments() if found.label == sys.argv[1]])\n"
        )
        command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code, attachment.label]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "['unknown']\n", done.stderr
