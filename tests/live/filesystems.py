"""Real file systems for the live tests: clean, and dirty as a computer leaves them that lost its power.

`dirty` is the backing file copied while the file system is mounted for writing, after an fsync put records into the
journal that nothing has written back yet. Everything is small; everything is made with stock tools.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

MIB = 1 << 20
# mkfs.xfs makes no file system below 300 MiB for users; its own tests tell it so, and so do ours.
XFS_SMALL = {"TEST_DIR": "1", "TEST_DEV": "1", "QA_CHECK_FS": "1"}

MAKERS: Mapping[str, tuple[Sequence[str], int]] = {
    "ext2": (("mkfs.ext2", "-q", "-F"), 8 * MIB),
    "ext3": (("mkfs.ext3", "-q", "-F"), 16 * MIB),
    "ext4": (("mkfs.ext4", "-q", "-F"), 16 * MIB),
    "xfs": (("mkfs.xfs", "-q"), 32 * MIB),
    "btrfs": (("mkfs.btrfs", "-q", "-M"), 32 * MIB),
}
PACKED: Mapping[str, Sequence[str]] = {
    "squashfs": ("mksquashfs", "{tree}", "{image}", "-noappend", "-quiet", "-no-progress"),
    "erofs": ("mkfs.erofs", "--quiet", "{image}", "{tree}"),
}
# What shows the file system as it is without its journal.
UNREPLAYED: Mapping[str, str] = {
    "ext3": "noload",
    "ext4": "noload",
    "xfs": "norecovery,nouuid",
    "btrfs": "rescue=nologreplay",
}
KINDS = (*MAKERS, *PACKED)
SECTOR = 512


@dataclass(frozen=True, slots=True)
class Facts:
    """What an examination must not change."""

    sha256: str
    size: int
    mtime: int
    ctime: int
    atime: int


def facts(path: Path) -> Facts:
    """Read without touching the access time."""
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
    with open(fd, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        seen = os.fstat(file.fileno())
    return Facts(digest, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_atime_ns)


def read_untouched(path: Path) -> bytes:
    """The content, without touching the access time."""
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
    with open(fd, "rb") as file:
        return file.read()


def files_below(folder: str) -> dict[str, bytes]:
    """Relative path -> content of every regular file."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


def make_tree(folder: Path) -> dict[str, bytes]:
    """The files that every file system gets."""
    content = {"early.txt": b"early\n", "folder/big.bin": bytes(range(256)) * 800, "folder/größe.txt": b"x"}
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return content


@contextlib.contextmanager
def mounted(image: Path, kind: str) -> Iterator[Path]:
    """For writing, with stock tools, at IMAGE.mnt."""
    folder = image.with_name(image.name + ".mnt")
    folder.mkdir()
    subprocess.run(["mount", "-t", kind, "-o", "loop", str(image), str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def make_empty(image: Path, kind: str) -> None:
    """An empty file system."""
    argv, size = MAKERS[kind]
    with image.open("xb") as file:
        file.truncate(size)
    subprocess.run([*argv, str(image)], check=True, capture_output=True, env={**os.environ, **XFS_SMALL})


def make_clean(image: Path, kind: str, tree: Path) -> None:
    """A file system with the files of `tree`, unmounted properly."""
    if kind in PACKED:
        argv = [word.format(tree=tree, image=image) for word in PACKED[kind]]
        subprocess.run(argv, check=True, capture_output=True)
        return
    make_empty(image, kind)
    with mounted(image, kind) as folder:
        subprocess.run(["cp", "-r", f"{tree}/.", str(folder)], check=True)


def make_dirty(image: Path, kind: str, tree: Path) -> None:
    """The same, and `late.txt` in the journal only; taken while it was mounted.

    Whoever calls sync(2) at that moment (every sfdisk does) writes the journal's content back: then once more.
    """
    for _ in range(8):
        _take_while_mounted(image, kind, tree)
        if kind not in UNREPLAYED or not _was_written_back(image, kind):
            return
        image.unlink()
    msg = f"no {kind} could be taken before its journal was written back"
    raise AssertionError(msg)


def _was_written_back(image: Path, kind: str) -> bool:
    folder = image.with_name(image.name + ".look")
    folder.mkdir()
    options = f"ro,loop,{UNREPLAYED[kind]}"
    subprocess.run(["mount", "-t", kind, "-o", options, str(image), str(folder)], check=True)
    try:
        return (folder / "late.txt").exists()
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def _take_while_mounted(image: Path, kind: str, tree: Path) -> None:
    original = image.with_name(image.name + ".original")
    make_clean(original, kind, tree)
    with mounted(original, kind) as folder:
        for name in ("late.txt", "early.txt"):
            with (folder / name).open("wb") as file:
                file.write(b"late\n")
                file.flush()
                os.fsync(file.fileno())
        subprocess.run(["cp", "--sparse=always", str(original), str(image)], check=True)
    original.unlink()


def make_disk(disk: Path, label: str, parts: Sequence[Path]) -> None:
    """A disk with a partition for each file system image; from the fourth on, dos ones are logical."""
    starts = []
    lines = [f"label: {label}"]
    at = MIB
    for number, part in enumerate(parts, 1):
        if label == "dos" and number == 4:
            lines.append(f"start={at // SECTOR}, type=5")
        if label == "dos" and number >= 4:
            at += MIB  # room for the table in front of each logical partition
        size = -(-part.stat().st_size // MIB) * MIB
        lines.append(f"start={at // SECTOR}, size={size // SECTOR}" + (", type=83" if label == "dos" else ""))
        starts.append(at)
        at += size
    with disk.open("xb") as file:
        file.truncate(at + MIB)
    script = "\n".join(lines)
    subprocess.run(["sfdisk", "--quiet", str(disk)], input=script, text=True, check=True, capture_output=True)
    for part, start in zip(parts, starts, strict=True):
        argv = ["dd", f"if={part}", f"of={disk}", "bs=1M", f"seek={start // MIB}", "conv=notrunc,sparse"]
        subprocess.run(argv, check=True, capture_output=True)


def without_extent_tree(image: Path) -> bytes:
    """A btrfs whose extent tree is zeros in every copy; blocks are known by the address in their header (offset 48)."""
    argv = ["btrfs", "inspect-internal", "dump-tree", "-t", "root", str(image)]
    dump = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    found = re.search(r"EXTENT_TREE ROOT_ITEM.*?bytenr (\d+)", dump, re.DOTALL)
    assert found is not None
    address = int(found[1]).to_bytes(8, "little")
    content = bytearray(read_untouched(image))
    for at in range(0, len(content), 4096):
        if content[at + 48 : at + 56] == address:
            content[at : at + 4096] = bytes(4096)
    return bytes(content)
