"""How what lies below a device differs now from what it was at attach."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from imgkit.attachment.ask import backing_path, stat_in_time
from imgkit.attachment.exposed import backing_of_stat
from imgkit.attachment.facts import BackingChange
from imgkit.attachment.source import backing_of, source_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.attachment.facts import Attachment, Backing, SourceFacts


def backing_now(attachment: Attachment, *, fd: int | None = None) -> BackingChange:
    """Compare what lies below with the facts at attach. What cannot be looked at cannot be vouched for: `changed`.

    Args:
        attachment: With `backing` (and `source`) as they were at attach.
        fd: A descriptor of the backing file, where the caller still has it: it cannot be renamed away.
    """
    then = attachment.backing
    try:
        if then.kind == "block":
            return _disk_now(attachment, fd)
        if then.kind == "exposed":
            return replace(files_changed(attachment.files), now=then)
        now = backing_of(fd, then.path) if fd is not None else _file_now(then, attachment.number)
    except OSError as error:
        detail = f"{then.path} cannot be looked at: {error.strerror}"
        return BackingChange(changed=True, touched=False, details=(detail,), now=None)
    changes = _differences(then, now)
    if changes or now.ctime_ns == then.ctime_ns:
        return BackingChange(changed=bool(changes), touched=False, details=tuple(changes), now=now)
    moved = f" and it is {now.path} now" if now.path != then.path else ""
    detail = f"{then.path}: only ctime differs ({then.ctime_ns} ns at attach, {now.ctime_ns} ns now){moved}"
    return BackingChange(changed=False, touched=True, details=(detail,), now=now)


def _file_now(then: Backing, number: int) -> Backing:
    """The file under its name at attach, else under the name that the kernel has for it (it was renamed)."""
    try:
        facts = stat_in_time(then.path)
        if (facts.st_dev, facts.st_ino) == (then.dev, then.ino):
            return backing_of_stat(then.path, facts)
    except FileNotFoundError:
        facts = None
    renamed = backing_path(number)
    if renamed and renamed != then.path:
        other = stat_in_time(renamed)
        if (other.st_dev, other.st_ino) == (then.dev, then.ino):
            return backing_of_stat(renamed, other)
    return backing_of_stat(then.path, facts or stat_in_time(then.path))


def files_changed(files: Sequence[Backing], *, since: str = "attach") -> BackingChange:
    """Compare every file of an exposed image, under its name of then. What is served says nothing of them.

    Args:
        files: As they were.
        since: When that was, for the sentences.
    """
    changed: list[str] = []
    touched: list[str] = []
    found = []
    for then in files:
        try:
            facts = stat_in_time(then.path)
        except OSError as error:
            changed.append(f"{then.path} cannot be looked at: {error.strerror}")
            continue
        now = backing_of_stat(then.path, facts, size=then.size if then.kind == "block" else None)
        found.append(now)
        changes = _differences(then, now, since)
        changed += changes
        if not changes and then.kind == "file" and then.ctime_ns != now.ctime_ns:
            touched.append(
                f"{then.path}: only ctime differs ({then.ctime_ns} ns at {since}, {now.ctime_ns} ns now)"
            )
    return BackingChange(
        changed=bool(changed),
        touched=bool(touched and not changed),
        details=(*changed, *touched),
        now=None,
        files=tuple(found),
    )


def _differences(then: Backing, now: Backing, since: str = "attach") -> list[str]:
    if (then.dev, then.ino, then.rdev) != (now.dev, now.ino, now.rdev):
        return [f"{then.path} is another file now (inode {then.ino} at {since}, {now.ino} now)"]
    found = []
    if then.size != now.size:
        found.append(f"{then.path}: {then.size} bytes at {since}, {now.size} now")
    if then.kind == "file" and then.mtime_ns != now.mtime_ns:
        found.append(f"{then.path}: mtime {then.mtime_ns} ns at {since}, {now.mtime_ns} ns now")
    if then.links and not now.links:
        found.append(f"{then.path} was deleted")
    return found


def _disk_now(attachment: Attachment, fd: int | None) -> BackingChange:
    """A block device: the times of its node say nothing, its own counters do."""
    then = attachment.backing
    own = os.open(then.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK) if fd is None else fd
    try:
        now = backing_of(own, then.path)
        changes = _differences(replace(then, dev=now.dev, ino=now.ino), now)  # a node may be made anew
        source = source_facts(own)
        changes += _source_differences(attachment.source, source, then.path)
    finally:
        if fd is None:
            os.close(own)
    return BackingChange(changed=bool(changes), touched=False, details=tuple(changes), now=now, source=source)


def _source_differences(then: SourceFacts | None, now: SourceFacts | None, path: str) -> list[str]:
    if then is None:
        return []
    if now is None:
        return [f"{path} is no block device now"]
    names = ("size", "diskseq", "serial", "wwn", "model", "sectors_written", "sectors_discarded")
    pairs = ((name, getattr(then, name), getattr(now, name)) for name in names)
    return [
        f"{path}: {name} {before} at attach, {after} now" for name, before, after in pairs if before != after
    ]
