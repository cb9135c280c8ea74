"""status: what is attached now, proved by the kernel; without root what sysfs and this user's own logs say of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit import expose
from imgkit.attachment import Backing, left_over
from imgkit.custody.record import path_of
from imgkit.errors import NotPermitted
from imgkit.examination.attached import attachment_document, counted_before
from imgkit.examination.exposures import KnownExposures, image_served
from imgkit.examination.knowledge import KnownLogs, as_recorded, filesystem_of, image_of
from imgkit.linux import sysblock
from imgkit.linux.process import effective_uid, is_running
from imgkit.mounting import mounts_of

if TYPE_CHECKING:
    from imgkit.custody.state import StateFolder
    from imgkit.examination.knowledge import Origin
    from imgkit.expose import ExposureFacts

Record = dict[str, Any]

LEFT_OVER_HINT = "imgkit detach --all ends it"
NEEDS_ROOT = "not proved: the read-only proof, and what others attached, are seen only as root"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is attached at this moment.

    Attributes:
        attachments: Documents, ascending by device; what is not known is None.
        proved: Whether the kernel was asked for everything: it needs root.
        exposures: Documents of what is served in a directory, or for no device any more; without root this user's own.
    """

    attachments: list[Record]
    proved: bool
    exposures: list[Record]


def standing(state: StateFolder) -> Standing:
    """What imgkit has attached on this host, of whichever log; without root only what this user's logs tell of."""
    logs = KnownLogs(state)
    known = KnownExposures(logs)
    exposures = [_exposure_document(facts, logs, known) for facts in _exposures() if _is_to_see(facts, known)]
    try:
        return Standing(_proved(logs), proved=True, exposures=exposures)
    except NotPermitted:
        return Standing(_told(logs), proved=False, exposures=exposures)


def _exposures() -> list[ExposureFacts]:
    """Those that no device stands for."""
    unused = {facts.name for facts in left_over()}
    return [facts for facts in expose.list_exposures() if facts.directory is not None or facts.name in unused]


def _is_to_see(facts: ExposureFacts, known: KnownExposures) -> bool:
    """Whether an exposure is this user's: root sees all, others their own; of a process that is gone the log says it."""
    if os.geteuid() == 0:
        return True
    if not facts.pid:
        return known.at(facts.directory or "", facts).log is not None
    try:
        return effective_uid(facts.pid) == os.geteuid()
    except OSError:
        return False  # gone meanwhile


def _exposure_document(facts: ExposureFacts, logs: KnownLogs, known: KnownExposures) -> Record:
    if facts.directory is None:
        origin = logs.origin_of_exposure(facts.name)
        notices = [f"it serves no device any more: {LEFT_OVER_HINT}"]
    else:
        origin, notices = known.at(facts.directory, facts), []
    alive = is_running(facts.pid)
    if not alive and facts.pid:
        notices.append(f"the process that serves it (pid {facts.pid}) is stopped: reads wait")
    file = None if facts.directory is None else os.path.join(facts.directory, facts.name)
    return {
        "image": image_served(facts, origin),
        "exhibit": origin.exhibit,
        "directory": facts.directory,
        "file": file,
        "size": facts.size,
        "guard": facts.guard,
        "exposed": {"pid": facts.pid or None, "alive": alive},
        "notices": [*facts.notices, *notices],
        **_whose(origin),
    }


def _proved(logs: KnownLogs) -> list[Record]:
    found = []
    for item in logs.attached_now():
        origin = logs.origin(item.attachment)
        document = attachment_document(item) | _whose(origin)
        if origin.log is not None and origin.actor_name is None:
            document["notices"].append(f"attached by {origin.who}")
        found.append(document)
    return found


def _whose(origin: Origin) -> Record:
    return {"case": origin.case, "log": origin.log, "examiner": origin.actor_name and origin.who}


def _told(logs: KnownLogs) -> list[Record]:
    """The recorded attachments that are still there: same boot, same device, same use of it, same range."""
    there = {}
    for origin in logs.recorded_now():
        data = origin.data or {}
        name = os.path.basename(str(data["device"]))
        if _is_still(name, data):
            there[int(name.removeprefix("loop"))] = _document(name, origin)
    return [there[number] for number in sorted(there)]


def _is_still(name: str, data: Record) -> bool:
    diskseq = sysblock.read_number(name, "diskseq")
    place = (sysblock.read_number(name, "loop/offset"), sysblock.read_number(name, "loop/sizelimit"))
    return (diskseq or 0) == data["diskseq"] and place == (data["offset"], data["proof"]["sizelimit"])


def _document(name: str, origin: Origin) -> Record:
    """As attachment_document, with None for what only root is told."""
    data, device = origin.data or {}, f"/dev/{name}"
    mounted = as_recorded(next(iter(mounts_of([device])), None), origin)
    return {
        "device": device,
        "diskseq": data["diskseq"],
        "partition": origin.partition,
        **{key: data[key] for key in ("offset", "length", "block_size", "clipped_tail")},
        "read_only": None,
        "guard": "unknown",
        "proof": _proof(name, data),
        "exposed": _exposed(data),
        "image": image_of(_backing(data), origin),
        "exhibit": origin.exhibit,
        "mountpoint": mounted.target if mounted else None,
        "filesystem": filesystem_of(origin),
        "options": list(mounted.options) if mounted else [],
        "view": mounted.view if mounted else None,
        "journal": mounted.journal if mounted else None,
        "notices": [*data.get("notices", ()), *(mounted.notices if mounted else ())],
        **_whose(origin),
    }


def _exposed(data: Record) -> Record | None:
    """The process that served the image at attach, where it runs still."""
    told = data.get("exposed")
    if not isinstance(told, dict):
        return None
    there = any(
        (item.name, item.pid) == (told.get("name"), told.get("pid")) for item in expose.list_exposures()
    )
    return {"pid": told["pid"], "alive": is_running(told["pid"])} if there else {"pid": None, "alive": False}


def _proof(name: str, data: Record) -> Record:
    written, discarded = counted_before(data)
    counters = sysblock.read_counters(name)
    return {
        "lo_flags": None,
        "blkroget": None,
        "sysfs_ro": sysblock.read_number(name, "ro") == 1,
        "device": None,
        "inode": None,
        "sectors_written": counters.sectors_written - written if counters else None,
        "sectors_discarded": counters.sectors_discarded - discarded if counters else None,
    }


def _backing(data: Record) -> Backing:
    told = data["backing"]
    return Backing(
        path=path_of(told),
        dev=int(told["dev"]),
        ino=int(told["ino"]),
        size=told["bytes"],
        mtime_ns=int(told["mtime"]),
        ctime_ns=int(told["ctime"]),
        kind=told["kind"],
    )
