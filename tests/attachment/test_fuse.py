"""An image on FUSE whose server is stopped: nothing hangs, and the device still comes down."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from imgkit.attachment import attach, detach, list_attachments
from imgkit.attachment.ask import ASK_LIMIT, lies_on_fuse
from imgkit.containers import open_image
from imgkit.linux import sysblock
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """ntfs-3g in the foreground, on tmp_path / "mnt"."""
    if shutil.which("ntfs-3g") is None or not os.path.exists("/dev/fuse"):
        pytest.fail("ntfs-3g (packages.txt) and /dev/fuse are needed")
    volume, target = tmp_path / "ntfs.img", tmp_path / "mnt"
    volume.write_bytes(b"")
    os.truncate(volume, 16 << 20)
    target.mkdir()
    subprocess.run(["mkntfs", "-q", "-F", str(volume)], check=True, capture_output=True)
    process = subprocess.Popen(["ntfs-3g", "-o", "no_detach", str(volume), str(target)])
    wait_until(lambda: os.path.ismount(target))
    yield process
    process.send_signal(signal.SIGCONT)
    subprocess.run(["umount", str(target)], check=True)
    process.wait(10)


@pytest.mark.alone
def test_stopped_server(server: subprocess.Popen[bytes], tmp_path: Path) -> None:
    path = tmp_path / "mnt" / "disk.img"
    path.write_bytes(os.urandom(1 << 20))
    assert lies_on_fuse(str(path))
    assert not lies_on_fuse(str(tmp_path / "ntfs.img"))
    with open_image(path) as image, attach(image) as device:
        assert device.attachment.proof.direct_io  # one page cache is enough
        assert os.pread(device.fileno(), 1 << 20, 0) == image.read_at(0, 1 << 20)
        attachment = device.keep()
    assert attachment in list_attachments()
    server.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    result = detach(attachment)
    assert time.monotonic() - began < 5 * ASK_LIMIT  # asked once; the rest is for a busy machine
    assert result.changed  # what cannot be looked at cannot be vouched for
    assert "does not answer" in result.changes.details[0]
    assert sysblock.read_number(f"loop{attachment.number}", "diskseq") != attachment.diskseq
