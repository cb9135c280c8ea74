"""The times that checkpoints and stamps state, against those of the lines around them: who dates back contradicts the log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgkit.custody.verify.checkpoints import Judged
    from imgkit.custody.verify.finding import Findings
    from imgkit.custody.verify.lines import Line

EARLY = timedelta(seconds=60)  # the same grace as between the clocks of two hosts


def when(time: str) -> datetime:
    """A time as lines, checkpoints and stamps state it; one that no calendar has is the first of all."""
    try:
        return datetime.fromisoformat(time)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


class CheckpointDates:
    """A checkpoint is made after the last line that it covers, and before its own; a key is judged at the time it states."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._sizes: frozenset[int] = frozenset()
        self._times: dict[int, str] = {}

    def expect(self, sizes: Iterable[int]) -> None:
        """Say how many lines there were at each checkpoint; before the first line."""
        self._sizes = frozenset(sizes)

    def see(self, line: Line) -> None:
        """Take the next record."""
        if line.number in self._sizes or line.record["type"] == "log.checkpointed":
            self._times[line.number] = line.record["time"]["utc"]

    def finish(self, checkpoints: Iterable[Judged]) -> None:
        """Tell of those that state another time."""
        for one in checkpoints:
            if not one.time:
                continue
            covered, own = self._times.get(one.size), self._times.get(one.line or 0)
            if covered is not None and when(one.time) - when(covered) < -EARLY:
                what = f"line {one.size:,}, the last that it covers, says {covered}"
            elif own is not None and when(own) - when(one.time) < -EARLY:
                what = f"the line that records it says {own}"
            else:
                continue
            self._findings.add("CLOCK_BACK", one.line, f"checkpoint {one.n:,} says {one.time}, but {what}")
