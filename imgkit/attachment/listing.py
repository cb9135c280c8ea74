"""What imgkit has attached on this host, from the kernel alone: there is no state file that could lie."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from imgkit import expose
from imgkit.attachment.ask import backing_path, loop_info, stat_in_time
from imgkit.attachment.bind import open_node
from imgkit.attachment.exposed import backing_of_stat, exposed_below, guard_now, sentence_of
from imgkit.attachment.facts import (
    LABEL_PREFIX,
    Attachment,
    Backing,
    Exposed,
    split_exposed_name,
    split_label,
)
from imgkit.attachment.guard import guard_of
from imgkit.attachment.prove import proof_by_sysfs, read_proof
from imgkit.attachment.source import source_facts
from imgkit.errors import NotPermitted
from imgkit.image import Extent
from imgkit.linux import blockdev, sysblock

if TYPE_CHECKING:
    from imgkit.attachment.facts import Proof, SourceFacts
    from imgkit.expose import ExposureFacts
    from imgkit.linux.loop import LoopInfo64


def list_attachments() -> list[Attachment]:
    """Every loop device that imgkit bound, ascending by number, with its proof read from the kernel now.

    `backing` is what lies below now: what a custody log says of the time of attach has to be put in its place
    before `detach` or `backing_now` can compare.

    Raises:
        NotPermitted: A loop device is bound and may not be opened: whether it is ours cannot be known.
    """
    below = _Below()
    found = (_look(number, below) for number in sysblock.bound_loops())
    return [attachment for attachment in found if attachment is not None]


class _Below:
    """What serves images below devices, asked for once."""

    def __init__(self) -> None:
        self._exposures: list[ExposureFacts] | None = None
        self._silent: set[str] = set()

    def info(self, fd: int, number: int) -> LoopInfo64 | None:
        """loop_info; of several devices over a process that does not answer only the first waits for it."""
        path = backing_path(number)
        if path in self._silent:
            return None
        info = loop_info(fd, number)
        if info is None:
            self._silent.add(path)
        return info

    def served(self, number: int, *, answered: bool) -> tuple[Exposed, ExposureFacts | None] | None:
        """exposed_below of a device."""
        if split_exposed_name(backing_path(number)) is None:
            return None
        if self._exposures is None:
            self._exposures = expose.list_exposures()
        return exposed_below(number, self._exposures, answered=answered)


def _look(number: int, below: _Below) -> Attachment | None:
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
        info = below.info(fd, number)
        if info is not None and not info.lo_file_name.startswith(LABEL_PREFIX.encode()):
            return None
        served = below.served(number, answered=info is not None)
        if served is not None:
            return _exposed(fd, number, info, *served)
        if info is None:
            return None
        proof = read_proof(fd, number, info=info)
    except OSError:
        return None  # unbound while we looked
    finally:
        os.close(fd)
    label = info.lo_file_name.decode("ascii", "backslashreplace")
    backing, source, notices = _backing(backing_path(number), info)
    found = _attachment(number, proof, backing, label)
    guard = guard_of(info.lo_device, info.lo_inode)
    return replace(found, guard=guard, source=source, notices=notices)


def _exposed(
    fd: int, number: int, info: LoopInfo64 | None, exposed: Exposed, facts: ExposureFacts | None
) -> Attachment:
    """Of a device over a served image; where its process does not answer sysfs has to do: neither label nor file's numbers."""
    label = info.lo_file_name.decode("ascii", "backslashreplace") if info is not None else ""
    device, inode = (facts.dev, facts.ino) if facts is not None else (None, None)
    proof = (
        read_proof(fd, number, info=info)
        if info is not None
        else proof_by_sysfs(fd, number, device=device, inode=inode)
    )
    end = proof.offset + proof.size
    path, size = (facts.path, facts.size) if facts is not None else (f"/{exposed.name}", end)
    backing = Backing(path, proof.device or 0, proof.inode or 0, size, 0, 0, kind="exposed")
    told = sentence_of(exposed)
    found = _attachment(number, proof, backing, label)
    if info is None:
        log, _ = split_exposed_name(f"/{exposed.name}") or (None, "")
        found = replace(found, log=log)
    return replace(
        found, guard=guard_now(facts, ()), exposed=exposed, notices=(told,) if told is not None else ()
    )


def _attachment(number: int, proof: Proof, backing: Backing, label: str) -> Attachment:
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
        guard="unknown",
        proof=proof,
        backing=backing,
        label=label,
        log=log,
        seq=seq,
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
    return backing_of_stat(path, facts), None, ()


def _disk(path: str, facts: os.stat_result) -> tuple[Backing, SourceFacts | None, tuple[str, ...]]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return backing_of_stat(path, facts, size=blockdev.blkgetsize64(fd)), source_facts(fd), ()
    finally:
        os.close(fd)
