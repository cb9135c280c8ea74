"""Attachments: each that was made ended, by a detach or because the kernel had let it go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgkit.custody.verify.finding import Findings
    from imgkit.custody.verify.lines import Line


class Attachments:
    """Follows attachments by the line of their intent, which is the number in the kernel's label.

    A record that ends one names that line as `data.attached_line`.
    """

    TYPES = frozenset({"evidence.attached", "evidence.detached", "evidence.gone", "op.reconciled"})

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._intents: dict[str, int] = {}
        self._open: dict[int, str] = {}

    def see(self, line: Line) -> None:
        """Take the next record."""
        record = line.record
        type_, phase = record["type"], record["phase"]
        if type_ == "evidence.attached":
            self._attached(phase, record)
        elif (type_ == "evidence.detached" and record.get("result") == "ok") or type_ == "evidence.gone":
            self._ended(record["data"].get("attached_line"))
        elif type_ == "op.reconciled":
            self._reconciled(record["data"])

    def _attached(self, phase: str, record: dict[str, Any]) -> None:
        if phase == "intent":
            self._intents[record["op"]] = record["seq"]
            return
        intent = self._intents.pop(record["op"], None)
        if intent is not None and record["result"] == "ok":
            self._open[intent] = record["data"]["device"]

    def _reconciled(self, data: dict[str, Any]) -> None:
        """An attach that was killed and whose device was seen to be bound is an attachment, too."""
        intent = self._intents.pop(data["op"], None)
        devices = data["seen"].get("devices")
        if intent is not None and isinstance(devices, list) and devices:
            self._open[intent] = ", ".join(str(device) for device in devices[:3])

    def _ended(self, attached_line: object) -> None:
        if type(attached_line) is int:
            self._open.pop(attached_line, None)

    def finish(self) -> None:
        """Name what was never taken down."""
        for line, device in self._open.items():
            self._findings.add(
                "OPEN_ATTACHMENT",
                line,
                f"attached as {ascii(device)[1:-1]}, and no later line says that it ended",
            )
