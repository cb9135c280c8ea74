"""One disk stored in every container, by the programs that examiners use: what is read of it may not depend on which."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tests.containers.sets import media

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
SIZE = 16 * MIB
PARTITIONS = [(1 * MIB, 4 * MIB), (5 * MIB, 4 * MIB)]

QEMU = {
    "disk.qcow2": ("qcow2", "compat=1.1"),
    "disk-v2.qcow2": ("qcow2", "compat=0.10"),
    "disk-l2.qcow2": ("qcow2", "extended_l2=on,cluster_size=128k"),
    "sparse.vmdk": ("vmdk", "subformat=monolithicSparse"),
    "flat.vmdk": ("vmdk", "subformat=monolithicFlat"),
    "split.vmdk": ("vmdk", "subformat=twoGbMaxExtentSparse"),
    "split-flat.vmdk": ("vmdk", "subformat=twoGbMaxExtentFlat"),
    "stream.vmdk": ("vmdk", "subformat=streamOptimized"),
    "dynamic.vhd": ("vpc", "subformat=dynamic,force_size=on"),
    "fixed.vhd": ("vpc", "subformat=fixed,force_size=on"),
    "dynamic.vhdx": ("vhdx", "subformat=dynamic"),
    "fixed.vhdx": ("vhdx", "subformat=fixed"),
}
# Name of the file to open -> Image.format.
FORMATS = {
    **{name: "vhd" if kind == "vpc" else kind for name, (kind, _) in QEMU.items()},
    "zlib.qcow2": "qcow2",
    "zstd.qcow2": "qcow2",
    "over.qcow2": "qcow2",
    "disk.E01": "ewf",
    "disk.E03": "ewf",
    "smart.s01": "ewf",
    "cut.000": "split-raw",
    "cut.002": "split-raw",
}


def run(*words: str | Path, cwd: Path) -> None:
    subprocess.run([os.fspath(word) for word in words], check=True, capture_output=True, cwd=cwd)


def write_disk(path: Path) -> None:
    """A GPT disk with an ext4, a FAT and noise in no partition; most of it holes."""
    path.touch()
    os.truncate(path, SIZE)
    run("sgdisk", "-n1:2048:+4M", "-n2:0:+4M", "-t2:0700", "-c1:evidence", path, cwd=path.parent)
    run("mkfs.ext4", "-q", "-F", "-L", "inner", "-E", f"offset={MIB}", path, "4096k", cwd=path.parent)
    run("mkfs.vfat", "-n", "STICK", "--offset", f"{5 * MIB // 512}", path, "4096", cwd=path.parent)
    with path.open("r+b") as file:
        file.seek(10 * MIB + 512)
        file.write(media(3 * MIB))


def store_in_all(disk: Path, folder: Path) -> None:
    """Write every file that FORMATS names into `folder`."""
    for name, (kind, options) in QEMU.items():
        run("qemu-img", "convert", "-f", "raw", "-O", kind, "-o", options, disk, folder / name, cwd=folder)
    for kind in ("zlib", "zstd"):
        options = f"compression_type={kind}"
        run(
            "qemu-img",
            "convert",
            "-c",
            "-f",
            "raw",
            "-O",
            "qcow2",
            "-o",
            options,
            disk,
            f"{kind}.qcow2",
            cwd=folder,
        )
    run(
        "qemu-img", "create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", "over.qcow2", cwd=folder
    )
    run("qemu-img", "snapshot", "-c", "before", "over.qcow2", cwd=folder)
    acquire(disk, folder / "disk", "-c", "fast", "-S", "1MiB", "-d", "sha1")
    acquire(disk, folder / "smart", "-c", "none", "-f", "smart")
    run("split", "-b", "5M", "-d", "-a", "3", disk, folder / "cut.", cwd=folder)


def acquire(disk: Path, target: Path, *options: str) -> None:
    """A set of ewfacquire."""
    said = ["-C", "case 7", "-E", "item 1", "-e", "Jane Doe", "-D", "a disk", "-N", "none"]
    run("ewfacquire", "-u", "-q", *options, *said, "-t", target, disk, cwd=target.parent)
