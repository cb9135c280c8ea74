"""What earlier runs left behind: open intents explained by what is seen now, attachments that no longer exist."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from imgkit.errors import AttachError, HostError, NotPermitted
from imgkit.linux import sysblock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgkit.examination import Examination
    from imgkit.examination.ledger import AttachmentRecord, Ledger

Record = dict[str, Any]


def look_at_world(intent: Mapping[str, Any], ledger: Ledger) -> tuple[str, Record]:
    """Say what is seen of an act whose session is dead: (result, seen). Never guessed as ok.

    A killed attach or mount whose device is not bound any more left nothing: `interrupted`. Where the device is there,
    or cannot be seen from here, it is `unknown`. Everything else that a kill can stop (reading) leaves nothing either.
    """
    kind = intent["type"]
    if kind in ("evidence.attached", "evidence.mounted"):
        bound = _devices_of(intent["log"], intent["data"].get("attached_line", intent["seq"]))
        if bound is None:
            return "unknown", {"devices": "not permitted to look"}
        return ("unknown" if bound else "interrupted"), {"devices": bound}
    if kind in ("evidence.detached", "evidence.unmounted"):
        known = ledger.attachments.get(intent["data"].get("attached_line", -1))
        return "unknown", {"device_bound": known is not None and not is_gone(known)}
    return "interrupted", {}


def _devices_of(log: str, line: int) -> list[str] | None:
    """Devices that carry the label of this intent now; None where they cannot be seen (no root)."""
    from imgkit.attachment import list_attachments

    try:
        return [item.device for item in list_attachments() if (item.log, item.seq) == (log, line)]
    except (NotPermitted, HostError, AttachError):
        return None


def is_gone(known: AttachmentRecord) -> bool:
    """Whether the attachment that a record tells of cannot exist any more: another boot, or another use of the device."""
    if known.boot_id != current_boot_id():
        return True
    name = os.path.basename(str(known.data["device"]))
    diskseq = known.data["diskseq"]
    if not sysblock.loop_is_bound(int(name.removeprefix("loop"))):
        return True
    return bool(diskseq) and sysblock.read_number(name, "diskseq") != diskseq


def current_boot_id() -> str:
    """The kernel's name for this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def record_gone(examination: Examination) -> None:
    """Close attachments that no longer exist: after a reboot, or taken down by something else than imgkit."""
    leaving = {intent["data"].get("attached_line") for intent in examination.log.open_intents()}
    for line, known in list(examination.ledger.attachments.items()):
        if line in leaving or not is_gone(known):
            continue
        rebooted = known.boot_id != current_boot_id()
        data = {
            "attached_line": line,
            "device": known.data["device"],
            "diskseq": known.data["diskseq"],
            "why": "the host was started anew"
            if rebooted
            else "the device is not bound to this image any more",
        }
        examination.event("evidence.gone", data, exhibit=known.exhibit)
        del examination.ledger.attachments[line]
