"""The same media in every container, made by stock tools; and the processes that serve them, seen from outside."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
from typing import TYPE_CHECKING

from tests.live import filesystems

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 1 << 20
CHUNK = 64 * 512  # of an E01


def make_media(folder: Path) -> tuple[Path, dict[str, bytes]]:
    """A raw disk with two partitions that hold ext4, and the files in each."""
    content = filesystems.make_tree(folder / "tree")
    part = folder / "part"
    with part.open("xb") as file:
        file.truncate(4 * MIB)
    command = ["mkfs.ext4", "-q", "-F", "-b", "1024", "-d", str(folder / "tree"), str(part)]
    subprocess.run(command, check=True, capture_output=True)
    disk = folder / "disk.dd"
    filesystems.make_disk(disk, "gpt", [part, part])
    return disk, content


def split_raw(disk: Path, folder: Path) -> Path:
    return split_into(disk, folder, 3 * MIB)


def split_into(disk: Path, folder: Path, size: int) -> Path:
    """disk.001 and so on."""
    content = disk.read_bytes()
    for number, start in enumerate(range(0, len(content), size), 1):
        (folder / f"disk.{number:03}").write_bytes(content[start : start + size])
    return folder / "disk.001"


def ewf(disk: Path, folder: Path) -> Path:
    """Several segments of compressed chunks, stored chunks, and zeros."""
    command = ["ewfacquire", "-u", "-q", "-c", "fast", "-S", "1MiB", "-t", str(folder / "disk"), str(disk)]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "disk.E01"


def _by_qemu(kind: str, name: str, *options: str) -> Callable[[Path, Path], Path]:
    def make(disk: Path, folder: Path) -> Path:
        image = folder / name
        command = ["qemu-img", "convert", "-f", "raw", "-O", kind, *options, str(disk), str(image)]
        subprocess.run(command, check=True, capture_output=True)
        return image

    return make


# what the command calls the format -> what makes it of a raw disk in a folder
MAKERS: dict[str, Callable[[Path, Path], Path]] = {
    "split-raw": split_raw,
    "ewf": ewf,
    "qcow2": _by_qemu("qcow2", "disk.qcow2", "-c"),
    "vmdk": _by_qemu("vmdk", "disk.vmdk", "-o", "subformat=twoGbMaxExtentSparse"),
    "vhd": _by_qemu("vpc", "disk.vhd", "-o", "force_size=on"),
    "vhdx": _by_qemu("vhdx", "disk.vhdx"),
}


def files_of(image: Path) -> dict[Path, filesystems.Facts]:
    """Every file in the folder of an image, with its digest and times."""
    found = sorted(path for path in image.parent.iterdir() if path.is_file() and path.suffix != ".jsonl")
    return {path: filesystems.facts(path) for path in found}


def state_of(pid: int) -> str:
    """Of a process: `S`, `T` …; empty once it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def read_by_step(device: str, size: int, step: int = 4096) -> tuple[bytes, list[tuple[int, int]]]:
    """The bytes of a device past the page cache (which reads ahead, and fails more at once), and what cannot be read."""
    content = bytearray(size)
    found: list[tuple[int, int]] = []
    fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
    with open(fd, "rb", buffering=0), mmap.mmap(-1, step) as buffer:
        for offset in range(0, size, step):
            try:
                count = os.preadv(fd, [buffer], offset)
                content[offset : offset + count] = buffer[:count]
            except OSError as error:
                assert error.errno == errno.EIO  # noqa: PT017  (the loop goes on)
                joins = found and sum(found[-1]) == offset
                found[-1:] = [(found[-1][0], found[-1][1] + step)] if joins else [*found[-1:], (offset, step)]
    return bytes(content), found
