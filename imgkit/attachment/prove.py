"""Read everything back from the kernel and compare it with what was asked: nothing it was told is trusted."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imgkit.attachment.facts import Proof
from imgkit.attachment.source import diskseq_of
from imgkit.errors import AttachError, NotReadOnly, SizeMismatch
from imgkit.linux import blockdev, loop, sysblock

if TYPE_CHECKING:
    from imgkit.image import Extent


_FLAG_FILES = {
    "autoclear": loop.LO_FLAGS_AUTOCLEAR,
    "partscan": loop.LO_FLAGS_PARTSCAN,
    "dio": loop.LO_FLAGS_DIRECT_IO,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a device must turn out to be.

    Attributes:
        shown: Bytes of the media that it shows.
        block_size: Its logical block.
        dev, ino: st_dev and st_ino of the file below.
        direct_io: Whether reads should pass the page cache of the file system below.
        label: lo_file_name.
    """

    shown: Extent
    block_size: int
    dev: int
    ino: int
    direct_io: bool
    label: str


def read_proof(fd: int, number: int, *, info: loop.LoopInfo64 | None = None) -> Proof:
    """What the kernel says of the open loop device `fd` now; `info` spares asking for LOOP_GET_STATUS64 again.

    Raises:
        OSError: ENXIO where it is bound to nothing.
    """
    info = info or loop.loop_get_status64(fd)
    counters = sysblock.read_counters(f"loop{number}") or sysblock.Counters(0, 0)
    return Proof(
        lo_flags=info.lo_flags,
        blkroget=blockdev.blkroget(fd),
        sysfs_ro=sysblock.read_number(f"loop{number}", "ro") == 1,
        device=info.lo_device,
        inode=info.lo_inode,
        offset=info.lo_offset,
        sizelimit=info.lo_sizelimit,
        size=blockdev.blkgetsize64(fd),
        block_size=blockdev.blksszget(fd),
        diskseq=diskseq_of(fd),
        sectors_written=counters.sectors_written,
        sectors_discarded=counters.sectors_discarded,
    )


def proof_by_sysfs(fd: int, number: int, *, device: int | None, inode: int | None) -> Proof:
    """read_proof where LOOP_GET_STATUS64 cannot be answered: sysfs has the flags and the range, not the file's numbers.

    Args:
        fd: The open loop device.
        number: Of it.
        device: Of the file below (st_dev), where something else than the kernel says so; else None.
        inode: The same of st_ino.

    Raises:
        OSError: ENXIO where it is bound to nothing.
    """
    name = f"loop{number}"
    attributes = {
        key: sysblock.read_number(name, f"loop/{key}") for key in (*_FLAG_FILES, "offset", "sizelimit")
    }
    read_only = sysblock.read_number(name, "ro") == 1
    offset, sizelimit = attributes["offset"], attributes["sizelimit"]
    if offset is None or sizelimit is None:
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), f"/dev/{name}")
    flags = sum(flag for key, flag in _FLAG_FILES.items() if attributes[key])
    info = loop.LoopInfo64(
        lo_offset=offset,
        lo_sizelimit=sizelimit,
        lo_flags=flags | (loop.LO_FLAGS_READ_ONLY if read_only else 0),
    )
    return replace(read_proof(fd, number, info=info), device=device, inode=inode)


def check_proof(proof: Proof, wanted: Wanted, device: str) -> tuple[str, ...]:
    """Compare, and return notices about what the kernel left out without harm.

    Raises:
        NotReadOnly: One of the three places does not say read-only.
        SizeMismatch: The device shows another range.
        AttachError: It shows another file, or has another block size.
    """
    if not proof.read_only:
        raise NotReadOnly(
            f"{device} was asked to be read-only and is not: lo_flags {proof.lo_flags:#x},"
            f" BLKROGET {proof.blkroget:d}, sysfs ro {proof.sysfs_ro:d}"
        )
    if (proof.device, proof.inode) != (wanted.dev, wanted.ino):
        raise AttachError(
            f"{device} shows inode {proof.inode} of device {_numbers(proof.device or 0)},"
            f" asked was inode {wanted.ino} of {_numbers(wanted.dev)}"
        )
    shown = (proof.offset, proof.sizelimit, proof.size)
    asked = (wanted.shown.offset, wanted.shown.length, wanted.shown.length)
    if shown != asked:
        raise SizeMismatch(f"{device} shows (offset, limit, size) {shown}, asked was {asked}")
    if proof.block_size != wanted.block_size:
        raise AttachError(f"{device} has blocks of {proof.block_size}, asked were {wanted.block_size}")
    if wanted.direct_io and not proof.direct_io:
        return (f"{device} reads through the page cache: the kernel dropped direct I/O without a word",)
    return ()


def _numbers(dev: int) -> str:
    return f"{os.major(dev)}:{os.minor(dev)}"
