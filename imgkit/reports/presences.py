"""Where evidence was visible: devices and exposed files, their mounts, and how each ended."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imgkit.reports.values import mapping, number, pairs, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.reports.acts import Act
    from imgkit.reports.values import Data

_ENDS = {
    "evidence.detached": ("attached_line",),
    "evidence.gone": ("attached_line", "exposed_line"),
    "evidence.unexposed": ("exposed_line",),
}


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of an attached device.

    Attributes:
        line: Line of the intent.
        exhibit: EX1 ...
        attached_line: Line of the intent of the attachment, or None.
        source: Device.
        target: Mount point.
        filesystem: Type; `driver` is what mounted it.
        driver: In force.
        options: In force.
        begun: The act.
        ended: The unmount, or None.
    """

    line: int
    exhibit: str
    attached_line: int | None
    source: str
    target: str
    filesystem: str
    driver: str
    options: tuple[str, ...]
    begun: Act = field(repr=False)
    ended: Act | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A device that showed an exhibit, or a file of a file system that did (an exposure).

    Attributes:
        line: Line of the intent.
        exhibit: EX1 ...
        kind: `device` or `exposed file`.
        device: Device, or path of the exposed file.
        offset: Of the media, or None.
        length: Bytes, or None.
        read_only: What proved it read-only, as (name, value), in the order of their names.
        guard: What kept writes away below the device, or empty.
        ending: `detached`, `unexposed`, `gone`, `open`.
        begun: The act.
        ended: The act or event that ended it, or None.
        compared: Whether the evidence was found unchanged at its end, in words; empty where nobody looked.
        details: What was found at its end.
        mounts: What was mounted of it.
    """

    line: int
    exhibit: str
    kind: str
    device: str
    offset: int | None
    length: int | None
    read_only: tuple[tuple[str, str], ...]
    guard: str
    ending: str
    begun: Act = field(repr=False)
    ended: Act | None = field(repr=False)
    compared: str
    details: tuple[str, ...]
    mounts: tuple[Mount, ...]


def presences_of(acts: Sequence[Act]) -> list[Attachment]:
    """Every attachment and exposure that was recorded to have come about, in order."""
    ends: dict[int, Act] = {}
    for act in acts:
        for key in _ENDS.get(act.type, ()) if act.result in ("", "ok") else ():
            line = number(act.data.get(key))
            if line is not None:
                ends.setdefault(line, act)
    mounts = _mounts(acts)
    return [
        _presence(act, ends.get(act.line), tuple(mounts.get(act.line, ())))
        for act in acts
        if act.type in ("evidence.attached", "evidence.exposed") and _came_about(act)
    ]


def _came_about(act: Act) -> bool:
    return act.result == "ok" or (act.result in ("open", "interrupted", "unknown") and act.ended_line is None)


def _presence(act: Act, ended: Act | None, mounts: tuple[Mount, ...]) -> Attachment:
    data = act.data
    after = ended.data if ended else {}
    kind = "device" if act.type == "evidence.attached" else "exposed file"
    return Attachment(
        line=act.line,
        exhibit=act.exhibit,
        kind=kind,
        device=text(data.get("device")) or text(data.get("file")) or text(data.get("target")),
        offset=number(data.get("offset")),
        length=number(data.get("length")),
        read_only=pairs(data.get("proof")),
        guard=text(data.get("guard")),
        ending=_ending(ended),
        begun=act,
        ended=ended,
        compared=_compared(after),
        details=_texts(after, "details"),
        mounts=mounts,
    )


def _ending(ended: Act | None) -> str:
    if ended is None:
        return "open"
    return {"evidence.gone": "gone", "evidence.unexposed": "unexposed"}.get(ended.type, "detached")


def _compared(after: Data) -> str:
    if "compared" not in after:
        return ""
    if after["compared"] is not True:
        return "not compared"
    return "differences found" if after.get("details") else "unchanged"


def _mounts(acts: Sequence[Act]) -> dict[int, list[Mount]]:
    """Line of the attachment -> its mounts; an unmount ends the last mount of its target before it."""
    found: dict[int, list[Mount]] = defaultdict(list)
    ends: dict[str, list[Act]] = defaultdict(list)
    for act in acts:
        if act.type == "evidence.unmounted" and act.result == "ok":
            ends[text(act.data.get("target"))].append(act)
    for act in acts:
        if act.type == "evidence.mounted" and act.result == "ok":
            after = [end for end in ends.get(text(act.data.get("target")), ()) if end.line > act.line]
            mount = _mount(act, after[0] if after else None)
            found[mount.attached_line or 0].append(mount)
    return found


def _mount(act: Act, ended: Act | None) -> Mount:
    data = act.data
    kind = data.get("filesystem")
    return Mount(
        line=act.line,
        exhibit=act.exhibit,
        attached_line=number(data.get("attached_line")),
        source=text(data.get("source")),
        target=text(data.get("target")),
        filesystem=text(mapping(kind).get("type")) if isinstance(kind, dict) else text(kind),
        driver=text(data.get("driver")),
        options=_texts(data, "options"),
        begun=act,
        ended=ended,
    )


def _texts(data: Data, key: str) -> tuple[str, ...]:
    value = data.get(key)
    if isinstance(value, list):
        return tuple(text(item) for item in value)
    return (text(value),) if value else ()
