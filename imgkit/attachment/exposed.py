"""An image that is not one plain file lies below its devices through a process of imgkit that serves it (expose).

What there is to know of that process when devices are made, listed and taken down. sysfs names the served file; the
process may be dead or stopped by then, and with it LOOP_GET_STATUS64, which asks the file system below.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from imgkit import expose
from imgkit.attachment.ask import backing_path, loop_info
from imgkit.attachment.facts import Backing, Exposed, exposed_name, split_exposed_name
from imgkit.attachment.guard import guard_of_files, take_guard
from imgkit.linux import sysblock
from imgkit.linux.process import is_running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.attachment.facts import Attachment, Guard
    from imgkit.expose import Exposure, ExposureFacts
    from imgkit.image import Image
    from imgkit.linux.files import Identity

_PATIENCE = 10.0  # seconds
_ENDING = 2.0  # seconds: a process ends 16 ms after its last device went (measured)
_COMING_UP = 120.0  # seconds in which a process may have an image open that nobody sees yet


def expose_image(image: Image, label: str, identity: Identity | None) -> Exposure:
    """Serve an image for the devices of one attach; the name of the file says whose it is.

    Raises:
        Busy, HostError, ImageError, NotPermitted: As expose.expose_detached.
    """
    return expose.expose_detached(image, name=exposed_name(label), identity=identity, take_guard=take_guard)


def files_of(image: Image) -> tuple[Backing, ...]:
    """The files of an image as they were when it was opened."""
    return tuple(backing_of_stat(item.path, item.stat, size=item.size) for item in image.segments)


def backing_of_stat(path: str, facts: os.stat_result, *, size: int | None = None) -> Backing:
    """What stat says of a file or block device; `size` where its node does not say it."""
    block = stat.S_ISBLK(facts.st_mode)
    return Backing(
        path,
        facts.st_dev,
        facts.st_ino,
        facts.st_size if size is None else size,
        facts.st_mtime_ns,
        facts.st_ctime_ns,
        kind="block" if block else "file",
        rdev=facts.st_rdev if block else 0,
        links=facts.st_nlink,
    )


def exposure_named(name: str, exposures: Sequence[ExposureFacts] | None = None) -> ExposureFacts | None:
    """The process that serves a file of that name below devices, or None where it is gone."""
    there = expose.list_exposures() if exposures is None else exposures
    return next((item for item in there if item.name == name and item.directory is None), None)


def exposed_below(
    number: int, exposures: Sequence[ExposureFacts], *, answered: bool
) -> tuple[Exposed, ExposureFacts | None] | None:
    """What serves the image below a loop device; None where the image's own file lies there."""
    found = split_exposed_name(backing_path(number))
    if found is None:
        return None
    facts = exposure_named(found[1], exposures)
    if facts is None:
        return Exposed(found[1], None, answers=False), None
    return Exposed(facts.name, facts.pid, answers=answered and is_running(facts.pid)), facts


def guard_now(facts: ExposureFacts | None, files: Sequence[Backing]) -> Guard:
    """Whether writers are held back from every file: nobody holds a lease once the process is gone."""
    if facts is None or facts.guard == "none":
        return "none"
    return guard_of_files([(file.dev, file.ino) for file in files]) if files else facts.guard


def sentence_of(exposed: Exposed) -> str | None:
    """What the examiner is told of a process that does not serve any more; None while it does."""
    if exposed.alive:
        return None
    what = (
        "the process that served the image is gone"
        if exposed.pid is None
        else f"the process that serves the image (pid {exposed.pid}) is stopped or does not answer"
    )
    return f"{what}: reads fail or wait, and give no wrong bytes; take it down and attach the image again"


def silence(fd: int, attachment: Attachment) -> None:
    """End the process that serves a device where it does not answer: what waits for it gets EIO, and lets go.

    One that runs is asked once more, and longer: the host may only be busy.
    """
    if attachment.exposed is None:
        return
    facts = exposure_named(attachment.exposed.name)
    if facts is None:
        return
    if is_running(facts.pid) and loop_info(fd, attachment.number, limit=_PATIENCE) is not None:
        return
    expose.stop(facts)


def end_of(attachment: Attachment) -> None:
    """Return when the process has ended that served a device which is gone, unless it serves others."""
    if attachment.exposed is None:
        return
    name = attachment.exposed.name
    deadline = time.monotonic() + _ENDING
    while (facts := exposure_named(name)) is not None and not users_of(name):
        if time.monotonic() > deadline:
            if not _is_open(facts):  # by a run that is about to make the next device over it
                expose.stop(facts)
            return
        time.sleep(0.005)


def users_of(name: str) -> list[str]:
    """The loop devices over a served file."""
    return [f"/dev/loop{number}" for number in sysblock.bound_loops() if backing_path(number) == f"/{name}"]


def left_over() -> list[ExposureFacts]:
    """Exposures that were made for devices and serve none: whoever made them was killed, and they did not notice."""
    return [
        facts
        for facts in expose.list_exposures()
        if facts.directory is None
        and split_exposed_name(f"/{facts.name}") is not None
        and not _is_coming_up(facts)
        and not users_of(facts.name)
        and not _is_open(facts)
    ]


def _is_coming_up(facts: ExposureFacts) -> bool:
    """Whether the command that wants it may not have its file yet; with that it has it open until devices do."""
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - facts.started / os.sysconf("SC_CLK_TCK")
    return facts.dev == 0 and age < _COMING_UP


def _is_open(facts: ExposureFacts) -> bool:
    """Whether somebody has the served file open: an attach under way."""
    for pid in os.listdir("/proc"):
        if pid.isdigit() and int(pid) != facts.pid:
            try:
                links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            except OSError:
                continue  # gone meanwhile, or not ours to see
            if f"/{facts.name}" in links:
                return True
    return False
