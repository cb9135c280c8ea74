"""Take a device down and make sure that the kernel has let go of it; identity first, so that nobody else's is touched."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from imgkit.attachment.ask import backing_path, loop_info
from imgkit.attachment.bind import need_privilege, open_node
from imgkit.attachment.changes import backing_now
from imgkit.attachment.exposed import end_of, exposure_named, guard_now, silence
from imgkit.attachment.facts import BackingChange, Detached
from imgkit.attachment.guard import guard_of
from imgkit.attachment.holders import holders_of
from imgkit.attachment.prove import proof_by_sysfs, read_proof
from imgkit.attachment.source import diskseq_of
from imgkit.errors import AttachError, Busy
from imgkit.linux import loop, sysblock

if TYPE_CHECKING:
    from imgkit.attachment.facts import Attachment, Guard, Proof
    from imgkit.holders import Holder

RELEASE_LIMIT = 5.0
_FIRST_SLEEP = 0.0002
_LONGEST_SLEEP = 0.02


def detach(attachment: Attachment, *, timeout: float = RELEASE_LIMIT, own: int | None = None) -> Detached:
    """Take down exactly this use of the device; return when the kernel has let go, with what was seen just before.

    A device that is gone already is no error: `gone_before` says so. What changed below is a value, never an
    exception, and the device is taken down either way.

    Args:
        attachment: As it was at attach: from the device, or from a list with the recorded `backing`, `source` and
            write counters put in.
        timeout: Seconds to wait for others who have the device open.
        own: A descriptor of the device that the caller gives up: it is closed here, whatever happens.

    Raises:
        Busy: It is mounted, built upon, or still open somewhere after `timeout`: the message says where. It stays as it was.
        NotPermitted: No CAP_SYS_ADMIN.
        AttachError: The kernel refused.
    """
    fd = own
    try:
        need_privilege(f"detach {attachment.device}")
        fd = _open_ours(attachment) if fd is None else fd
        info = loop_info(fd, attachment.number) if fd is not None else None
        if fd is None or not _is_ours(attachment, fd, info):
            return _gone(attachment)
        _refuse_if_built_upon(attachment)
        if info is None:
            silence(fd, attachment)  # or the release would wait as the reads do
        seen = _look(attachment, fd, info)
        loop.loop_clr_fd(fd)
    except OSError as error:
        raise AttachError(f"cannot detach {attachment.device}: {error.strerror}") from error
    finally:
        if fd is not None:
            os.close(fd)
    try:
        wait_until_gone(attachment, timeout)
    except Busy:
        if _put_back(attachment):
            raise
    end_of(attachment)
    return seen


def wait_until_gone(attachment: Attachment, limit: float) -> None:
    """Return when the kernel has let go of this use of the device.

    Raises:
        Busy: Not within `limit` seconds; the message says who holds it.
    """
    deadline, sleep = time.monotonic() + limit, _FIRST_SLEEP
    while not is_gone(attachment):
        if time.monotonic() > deadline:
            raise _busy(attachment, holders_of(attachment.device))
        time.sleep(sleep)
        sleep = min(sleep * 2, _LONGEST_SLEEP)


def is_gone(attachment: Attachment) -> bool:
    """Whether this use of the device is over, without opening it; another's use of the same number may have begun."""
    diskseq = sysblock.read_number(f"loop{attachment.number}", "diskseq")
    if attachment.diskseq is not None and diskseq != attachment.diskseq:
        return True
    return not sysblock.loop_is_bound(attachment.number)


def _busy(attachment: Attachment, holders: tuple[Holder, ...]) -> Busy:
    who = "; ".join(str(holder) for holder in holders) or "somebody who cannot be seen from here has it open"
    return Busy(
        f"cannot detach {attachment.device}: {who}", hint="unmount it or close the program, then detach again"
    )


def _open_ours(attachment: Attachment) -> int | None:
    """A descriptor of the device, which pins whatever it is bound to now; None where it is bound to nothing."""
    if not sysblock.loop_is_bound(attachment.number):
        return None
    try:
        return open_node(attachment.number)
    except OSError:
        if sysblock.loop_is_bound(attachment.number):
            raise
        return None


def _is_ours(attachment: Attachment, fd: int, info: loop.LoopInfo64 | None) -> bool:
    """diskseq, or the label: LOOP_CHANGE_FD, which swaps the file below, raises diskseq and leaves the label."""
    if info is not None and attachment.label and info.lo_file_name == attachment.label.encode():
        return True
    if attachment.diskseq is not None or info is not None or attachment.exposed is None:
        return attachment.diskseq is not None and diskseq_of(fd) == attachment.diskseq
    # Before 5.15, and nobody answers for the file below: its name has the log and the line, sysfs has the range.
    proof = proof_by_sysfs(fd, attachment.number, device=None, inode=None)
    same = (proof.offset, proof.sizelimit) == (attachment.proof.offset, attachment.proof.sizelimit)
    return same and backing_path(attachment.number) == f"/{attachment.exposed.name}"


def _guard(attachment: Attachment) -> Guard:
    if attachment.exposed is None:
        return guard_of(attachment.backing.dev, attachment.backing.ino)
    return guard_now(exposure_named(attachment.exposed.name), attachment.files)


def _gone(attachment: Attachment) -> Detached:
    guard = _guard(attachment)
    end_of(attachment)
    return Detached(attachment, None, guard, backing_now(attachment), 0, gone_before=True)


def _refuse_if_built_upon(attachment: Attachment) -> None:
    """Nothing is asked of the kernel while there is a mount: it would only mark the device to go with it."""
    lasting = tuple(holder for holder in holders_of(attachment.device) if holder.kind != "process")
    if lasting:
        raise _busy(attachment, lasting)


def _look(attachment: Attachment, fd: int, info: loop.LoopInfo64 | None) -> Detached:
    guard = _guard(attachment)
    if attachment.exposed is not None and info is None:
        then = attachment.proof  # the name of the served file is its own, so these are still its numbers
        proof = proof_by_sysfs(fd, attachment.number, device=then.device, inode=then.inode)
        return _judged(attachment, proof, guard)
    if info is None:
        detail = f"{attachment.backing.path} cannot be looked at: the file server does not answer"
        changes = BackingChange(changed=True, touched=False, details=(detail,), now=None)
        return Detached(attachment, None, guard, changes, 0)
    return _judged(attachment, read_proof(fd, attachment.number, info=info), guard)


def _judged(attachment: Attachment, proof: Proof, guard: Guard) -> Detached:
    changes = backing_now(attachment)
    swapped = _swapped(attachment, proof)
    if swapped:
        changes = replace(changes, changed=True, touched=False, details=(*swapped, *changes.details))
    return Detached(attachment, proof, guard, changes, _written(attachment, proof))


def _swapped(attachment: Attachment, proof: Proof) -> tuple[str, ...]:
    names = ("device", "inode", "offset", "sizelimit", "diskseq", "block_size", "size", "read_only")
    pairs = [(name, getattr(attachment.proof, name), getattr(proof, name)) for name in names]
    # A proof that was listed after the swap agrees with itself; the recorded file does not.
    pairs.append(("file", (attachment.backing.dev, attachment.backing.ino), (proof.device, proof.inode)))
    return tuple(
        f"{attachment.device}: {name} {then} at attach, {now} now" for name, then, now in pairs if then != now
    )


def _written(attachment: Attachment, proof: Proof) -> int:
    then = attachment.proof.sectors_written + attachment.proof.sectors_discarded
    return proof.sectors_written + proof.sectors_discarded - then


def _put_back(attachment: Attachment) -> bool:
    """Take back that the device goes with its last close; False where it has gone meanwhile.

    So a detach that fails leaves things as they were, and as the custody log has them.
    """
    fd = _open_ours(attachment)
    if fd is None:
        return False
    try:
        info = loop_info(fd, attachment.number)
        if not _is_ours(attachment, fd, info):
            return False
        if info is None and attachment.exposed is not None:
            return True  # nobody can be asked to put it back; it goes with its last close
        if info is not None and attachment.proof.staying:
            loop.loop_set_status64(fd, replace(info, lo_flags=info.lo_flags & ~loop.LO_FLAGS_AUTOCLEAR))
        return True
    except OSError as error:
        raise AttachError(
            f"{attachment.device} goes when it is closed, and not before: {error.strerror}"
        ) from error
    finally:
        os.close(fd)
