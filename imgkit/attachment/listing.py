"""What imgkit has attached on this host, from the kernel alone: there is no state file that could lie."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from imgkit.attachment.ask import backing_path, loop_info, stat_in_time
from imgkit.attachment.bind import open_node
from imgkit.attachment.facts import LABEL_PREFIX, Attachment, Backing, split_label
from imgkit.attachment.guard import guard_of
from imgkit.attachment.prove import read_proof
from imgkit.attachment.source import source_facts
from imgkit.errors import NotPermitted
from imgkit.image import Extent
from imgkit.linux import blockdev, sysblock

if TYPE_CHECKING:
    from imgkit.attachment.facts import Proof, SourceFacts
    from imgkit.linux.loop import LoopInfo64


def list_attachments() -> list[Attachment]:
    """Every loop device that imgkit bound, ascending by number, with its proof read from the kernel now.

    `backing` is what lies below now: what a custody log says of the time of attach has to be put in its place
    before `detach` or `backing_now` can compare.

    Raises:
        NotPermitted: A loop device is bound and may not be opened: whether it is ours cannot be known.
    """
    found = (_look(number) for number in sysblock.bound_loops())
    return [attachment for attachment in found if attachment is not None]


def _look(number: int) -> Attachment | None:
    try:
        fd = open_node(number)
    except PermissionError as error:
        raise NotPermitted(
            f"cannot open /dev/loop{number}: {error.strerror}",
            hint="loop devices are seen as root: run it with sudo",
        ) from error
    except OSError:
        return None  # went away while we looked
    try:
        info = loop_info(fd, number)
        if info is None or not info.lo_file_name.startswith(LABEL_PREFIX.encode()):
            return None
        proof = read_proof(fd, number, info=info)
    except OSError:
        return None  # unbound while we looked
    finally:
        os.close(fd)
    return _attachment(number, info, proof)


def _attachment(number: int, info: LoopInfo64, proof: Proof) -> Attachment:
    backing, source, notices = _backing(backing_path(number), info)
    label = info.lo_file_name.decode("ascii", "backslashreplace")
    log, seq = split_label(label)
    tail = backing.size - proof.size
    tail = tail if proof.offset == 0 and 0 < tail < proof.block_size else 0
    return Attachment(
        device=f"/dev/loop{number}",
        number=number,
        diskseq=proof.diskseq,
        extent=Extent(proof.offset, proof.size + tail),
        block_size=proof.block_size,
        clipped_tail=tail,
        read_only=proof.read_only,
        guard=guard_of(proof.device, proof.inode),
        proof=proof,
        backing=backing,
        label=label,
        log=log,
        seq=seq,
        source=source,
        notices=notices,
    )


def _backing(path: str, info: LoopInfo64) -> tuple[Backing, SourceFacts | None, tuple[str, ...]]:
    """The file below, where its name still leads to it: the kernel gives its numbers, not a descriptor."""
    lost = Backing(path, info.lo_device, info.lo_inode, 0, 0, 0, links=0)
    try:
        facts = stat_in_time(path)
    except OSError as error:
        return (
            lost,
            None,
            (f"{path}, which lies below /dev/loop{info.lo_number}, cannot be found: {error.strerror}",),
        )
    if (facts.st_dev, facts.st_ino) != (info.lo_device, info.lo_inode):
        return lost, None, (f"{path} is not the file below /dev/loop{info.lo_number} any more",)
    if stat.S_ISBLK(facts.st_mode):
        return _disk(path, facts)
    return _facts(path, facts, facts.st_size), None, ()


def _disk(path: str, facts: os.stat_result) -> tuple[Backing, SourceFacts | None, tuple[str, ...]]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        backing = replace(_facts(path, facts, blockdev.blkgetsize64(fd)), kind="block", rdev=facts.st_rdev)
        return backing, source_facts(fd), ()
    finally:
        os.close(fd)


def _facts(path: str, facts: os.stat_result, size: int) -> Backing:
    return Backing(
        path, facts.st_dev, facts.st_ino, size, facts.st_mtime_ns, facts.st_ctime_ns, links=facts.st_nlink
    )
