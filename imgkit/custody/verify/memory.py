"""This host's memory: the log still has, at the same place, the last line that this host saw in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from imgkit.custody.state import Head, StateFolder
    from imgkit.custody.verify.finding import Findings
    from imgkit.custody.verify.lines import Line


class Memory(Protocol):
    """What is asked of the state folder: it is only read."""

    def head(self, log: str) -> Head | None:
        """Return what is remembered of that log."""


class HeadMemory:
    """Compares the log with the head that this host remembers.

    Attributes:
        head: What is remembered, or None.
        matches: The remembered line is there, with its bytes and at its place.
        joined: The first of the lines that it vouches for.
    """

    def __init__(self, findings: Findings, state: StateFolder | Memory | None, log: str | None) -> None:
        self._findings = findings
        self.matches = False
        self.joined = 1
        self.head: Head | None = None
        self._none = "no memory of this host was asked"
        if state is not None and log is not None:
            self._recall(state, log)

    def _recall(self, state: StateFolder | Memory, log: str) -> None:
        self._none = (
            "this host never saw this log: it cannot tell whether lines were cut off or all was rewritten"
        )
        try:
            self.head = state.head(log)
        except CustodyError as error:
            self._none = f"this host's memory of the log cannot be used: {error.message}"

    def see(self, line: Line, joined: int) -> None:
        """Take the next line, and the first one that it is joined to."""
        head = self.head
        if head is not None and line.number == head.size and line.ended:
            self.matches = line.hash == head.head and line.end == head.bytes
            self.joined = joined

    def finish(self, lines: int) -> None:
        """Compare; `lines` is how many complete ones there are."""
        head = self.head
        if head is None:
            self._findings.add("NO_HEAD_MEMORY", None, self._none)
        elif lines < head.size:
            self._findings.add(
                "ROLLBACK", None, f"this host left the log at {head.size:,} lines, now it has {lines:,}"
            )
        elif not self.matches:
            self._findings.add(
                "FORK",
                head.size,
                f"this host left this line as {head.head} ending at byte {head.bytes:,}: it is another",
            )
