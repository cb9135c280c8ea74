"""What earlier runs left behind: open intents explained by what is seen now; attachments and exposures that are gone."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit.custody.record import path_fields, path_of
from imgkit.errors import AttachError, HostError, NotPermitted
from imgkit.examination.attached import is_told_by
from imgkit.examination.ledger import AttachmentRecord
from imgkit.linux import process, sysblock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgkit.attachment import Attachment
    from imgkit.examination import Examination
    from imgkit.examination.ledger import ExposureRecord, Ledger
    from imgkit.expose import ExposureFacts

Record = dict[str, Any]

_LETTING_GO = 1.0  # seconds


def look_at_world(intent: Mapping[str, Any], ledger: Ledger) -> tuple[str, Record]:
    """Say what is seen of an act whose session is dead: (result, seen). Never guessed as ok.

    A killed attach or mount whose device is not bound any more left nothing: `interrupted`. Where the device is there,
    or cannot be seen from here, it is `unknown`. Everything else that a kill can stop (reading) leaves nothing either.
    """
    kind, data = intent["type"], intent["data"]
    if kind in ("evidence.attached", "evidence.mounted"):
        told = _Told(intent["log"], data.get("attached_line", intent["seq"]), data, intent["time"]["boot_id"])
        bound = _settled_devices(told)
        if bound is None:
            return "unknown", {"devices": "not permitted to look", **_mounted_at(data)}
        return ("unknown" if bound else "interrupted"), {"devices": bound, **_mounted_at(data)}
    if kind in ("evidence.detached", "evidence.unmounted"):
        known = ledger.attachments.get(data.get("attached_line", -1))
        bound_now = known is not None and not is_gone(known, intent["log"])
        return "unknown", {"device_bound": bound_now, **_mounted_at(data)}
    if kind in ("evidence.exposed", "evidence.unexposed"):
        there = _exposed_at(path_of(data, key="target"))
        left = there is not None or kind == "evidence.unexposed"
        return ("unknown" if left else "interrupted"), _seen(there)
    return "interrupted", {}


def _exposed_at(target: str) -> ExposureFacts | None:
    from imgkit.expose import list_exposures

    return next((item for item in list_exposures() if item.directory == target), None)


def _seen(exposure: ExposureFacts | None) -> Record:
    """What is seen of an exposure, and by which numbers its process is known later."""
    seen: Record = {"mounted": exposure is not None}
    if exposure is not None and exposure.pid:
        seen |= {"pid": exposure.pid, "started": exposure.started}
    return seen | ({"pid_namespace": process.pid_namespace()} if exposure is not None else {})


@dataclass(frozen=True, slots=True)
class _Told:
    """What a record says of an attachment, at a line that the log may have given to another one before."""

    log: str
    line: int
    data: Mapping[str, Any]
    boot: str


def _settled_devices(told: _Told) -> list[str] | None:
    """_devices_of, once the kernel has let go of what the killed run alone held (it takes it a moment)."""
    from imgkit.mounting import list_mounts

    deadline = time.monotonic() + _LETTING_GO
    while found := _devices_of(told):
        if time.monotonic() > deadline or all(item.proof.staying for item in found):
            break
        if list_mounts(found):
            break  # a mount holds it
        time.sleep(0.01)
    return None if found is None else [item.device for item in found]


def _devices_of(told: _Told) -> list[Attachment] | None:
    """What carries the label of that line now and may be what is told of; None where that cannot be seen (no root)."""
    from imgkit.attachment import list_attachments

    try:
        # A served image whose process is dead: the kernel cannot say the line, only the log.
        there = [i for i in list_attachments() if i.log == told.log and i.seq in {told.line, None}]
    except (NotPermitted, HostError, AttachError):
        return None
    return [item for item in there if is_told_by(item, told.data, told.boot)]


def _mounted_at(data: Mapping[str, Any]) -> Record:
    """Whether the act's device is seen at its mount point now; nothing for an act that has none."""
    from imgkit.linux.mount import read_mountinfo

    if "target" not in data or "source" not in data:
        return {}
    target = path_of(data, key="target")
    return {"mounted": any((m.target, m.source) == (target, data["source"]) for m in read_mountinfo())}


def is_gone(known: AttachmentRecord, log: str) -> bool:
    """Whether the attachment that a record tells of cannot exist any more: another boot, or another use of the device.

    What cannot be seen from here (no root) is not said to be gone.
    """
    if known.boot_id != current_boot_id():
        return True
    name = os.path.basename(str(known.data["device"]))
    diskseq = known.data["diskseq"]
    if not sysblock.loop_is_bound(int(name.removeprefix("loop"))):
        return True
    if diskseq and sysblock.read_number(name, "diskseq") == diskseq:
        return False
    # Bound, and not known by its number: LOOP_CHANGE_FD raises it too, and leaves the label; before 5.15 there is none.
    return _devices_of(_Told(log, known.line, known.data, known.boot_id)) == []


def exposure_is_gone(known: ExposureRecord) -> bool:
    """Whether the exposure that a record tells of has ended: another boot, or neither its mount nor its process is there.

    A mount whose process is dead is there, and unexpose takes it down. In a container neither may be seen: what ran in
    another namespace is not said to be gone.
    """
    if known.boot_id != current_boot_id():
        return True
    if known.pid_namespace != process.pid_namespace() or _exposed_at(known.target) is not None:
        return False
    return known.process is None or process.has_ended(*known.process)


def current_boot_id() -> str:
    """The kernel's name for this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def record_gone(examination: Examination) -> None:
    """Close attachments and exposures that no longer exist: after a reboot, or ended by something else than imgkit.

    Others may be taking them down by imgkit at this moment: their intent was durable before the device went, so the log
    is read once more after the look, and whoever gets to append first has told it.
    """
    log, ledger = examination.log, examination.ledger
    gone = [("attached_line", n) for n, known in ledger.attachments.items() if is_gone(known, log.uuid)]
    gone += [("exposed_line", n) for n, exposed in ledger.exposures.items() if exposure_is_gone(exposed)]
    if not gone:
        return
    since = log.length()
    examination.refresh()
    leaving = [intent["data"] for intent in log.open_intents()]
    for key, line in gone:
        known = examination.ledger.end(key, line)
        if known is not None and not any(data.get(key) == line for data in leaving):
            examination.event_once(
                "evidence.gone", _gone_data(known), of=key, since=since, exhibit=known.exhibit
            )


def _gone_data(known: AttachmentRecord | ExposureRecord) -> Record:
    if isinstance(known, AttachmentRecord):
        ended = "the device is not bound to this image any more"
        facts = {key: known.data[key] for key in ("device", "diskseq")} | {"attached_line": known.line}
    else:
        ended = "neither its mount nor the process that served it is there any more"
        facts = path_fields(known.target, key="target") | {"exposed_line": known.line}
    return facts | {"why": ended if known.boot_id == current_boot_id() else "the host was started anew"}
