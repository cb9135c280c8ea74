"""Attachments and exposures: each that was made ended, by a detach or unexpose, or because the kernel had let it go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgkit.custody.verify.finding import Findings
    from imgkit.custody.verify.lines import Line


class Attachments:
    """Follows attachments by the line of their intent, which is the number in the kernel's label; and exposures by theirs.

    A record that ends one names that line as `data.attached_line`, or `data.exposed_line`.
    """

    TYPES = frozenset(
        {
            *("evidence.attached", "evidence.detached", "evidence.gone"),
            *("evidence.exposed", "evidence.unexposed", "op.reconciled"),
        }
    )

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._intents: dict[str, int] = {}
        self._open: dict[int, str] = {}

    def see(self, line: Line) -> None:
        """Take the next record."""
        record = line.record
        type_, phase = record["type"], record["phase"]
        if type_ in ("evidence.attached", "evidence.exposed"):
            self._made(phase, record)
        elif type_ == "op.reconciled":
            self._reconciled(record["data"])
        elif type_ == "evidence.gone" or record.get("result") == "ok":
            self._ended(record["data"].get("attached_line"))
            self._ended(record["data"].get("exposed_line"))

    def _made(self, phase: str, record: dict[str, Any]) -> None:
        if phase == "intent":
            self._intents[record["op"]] = record["seq"]
            return
        intent = self._intents.pop(record["op"], None)
        if intent is not None and record["result"] == "ok":
            data = record["data"]
            self._open[intent] = f"attached as {data['device']}" if "device" in data else _exposed(data)

    def _reconciled(self, data: dict[str, Any]) -> None:
        """A killed attach whose device was seen to be bound is an attachment, too; so is a killed exposure that was there."""
        intent = self._intents.pop(data["op"], None)
        seen = data["seen"]
        if intent is not None and "devices" not in seen and seen.get("mounted") is True:
            self._open[intent] = _exposed({})
        devices = seen.get("devices")
        if intent is not None and isinstance(devices, list) and devices:
            self._open[intent] = "attached as " + ", ".join(str(device) for device in devices[:3])

    def _ended(self, line: object) -> None:
        if type(line) is int:
            self._open.pop(line, None)

    def finish(self) -> None:
        """Name what was never taken down."""
        for line, how in self._open.items():
            self._findings.add(
                "OPEN_ATTACHMENT",
                line,
                f"{ascii(how)[1:-1]}, and no later line says that it ended",
            )


def _exposed(data: dict[str, Any]) -> str:
    return f"exposed as {data.get('file', data.get('target', 'a file'))}"
