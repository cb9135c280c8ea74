"""Split raw images (the plainest that need a process), and the certainty that no process, mount or file is left behind."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from imgkit.expose import list_exposures
from imgkit.linux import loop
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class SplitImage:
    """A set of files and the media they hold."""

    first: Path
    files: tuple[Path, ...]
    media: bytes


class MakeSplit(Protocol):
    def __call__(
        self,
        size: int,
        *,
        files: int = 3,
        name: str = "disk",
        folder: Path | None = None,
        scratch: bool = False,
    ) -> SplitImage: ...


def state(path: Path) -> tuple[object, ...]:
    """Digest, size and all times of a file, read without touching them."""
    with open(os.open(path, os.O_RDONLY | os.O_NOATIME), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        facts = os.fstat(file.fileno())
    return (digest, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_atime_ns, facts.st_ino)


@pytest.fixture
def make_split(tmp_path: Path) -> Iterator[MakeSplit]:
    """Make a split raw set; at its end every file of a set that is no scratch is unchanged, to the access time."""
    made: dict[Path, tuple[object, ...]] = {}

    def make(
        size: int, *, files: int = 3, name: str = "disk", folder: Path | None = None, scratch: bool = False
    ) -> SplitImage:
        media, part = os.urandom(size), -(-size // files)
        paths = []
        for number in range(files):
            path = (folder or tmp_path) / f"{name}.{number + 1:03d}"
            path.write_bytes(media[number * part : (number + 1) * part])
            os.utime(path, (1, 1))  # relatime would move an access time that is older than mtime
            paths.append(path)
            if not scratch:
                made[path] = state(path)
        return SplitImage(paths[0], tuple(paths), media)

    yield make
    for path, before in made.items():
        assert state(path) == before


def gone(pid: int, seconds: float = PATIENCE) -> bool:
    """Whether a process ends in time (a zombie that nobody has waited for yet has ended)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return True
        if fields[0] in {"Z", "X"}:
            return True
        time.sleep(0.005)
    return False


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """No exposure of this test's own images is left, and no descriptor of this process."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    deadline = time.monotonic() + PATIENCE
    while left := [facts for facts in list_exposures() if facts.path.startswith(str(tmp_path))]:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= len(before)


def bind_loop(fd: int, *, direct: bool = True) -> tuple[int, str]:
    """A read-only loop device over a descriptor, gone with the returned one; as the attachment layer makes them."""
    info = loop.LoopInfo64(
        lo_flags=loop.LO_FLAGS_READ_ONLY
        | loop.LO_FLAGS_AUTOCLEAR
        | (loop.LO_FLAGS_DIRECT_IO if direct else 0),
        lo_file_name=b"imgkit:test",
    )
    for _ in range(50):
        control = os.open(loop.LOOP_CONTROL, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(control, fcntl.LOCK_EX)
            device = f"/dev/loop{loop.loop_ctl_get_free(control)}"
            node = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
            try:
                loop.loop_configure(node, loop.LoopConfig(fd, 512, info))
            except OSError:  # losetup, which takes no lock, was faster
                os.close(node)
                continue
            return node, device
        finally:
            os.close(control)
    msg = "no loop device was free fifty times"
    raise AssertionError(msg)


def read_all(fd: int, size: int) -> bytes:
    """Bytes of a file or device from its beginning, in the reads a copying tool makes."""
    found = bytearray()
    while len(found) < size:
        part = os.pread(fd, min(1 << 20, size - len(found)), len(found))
        if not part:
            break
        found += part
    return bytes(found)
