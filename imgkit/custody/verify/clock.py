"""Clocks: the wall clock against the boot clock, which nobody sets."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from imgkit.custody.verify.finding import Findings
    from imgkit.custody.verify.lines import Line

STEP_US = 2_000_000
BACK = timedelta(seconds=60)
# Boots remembered at a time; the least recent is forgotten, so that a log of a million boots takes no more memory.
BOOTS = 1024


class _Stamp(NamedTuple):
    line: int
    utc: datetime
    boot: int  # microseconds


class Clocks:
    """Compares each record with the one before it, and with the one before it of the same boot."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._boots: OrderedDict[str, _Stamp] = OrderedDict()
        self._last_boot = ""
        self._unsync = 0
        self._first_unsync = 0
        self.first: str | None = None
        self.last: str | None = None

    def see(self, line: Line) -> None:
        """Take the next record."""
        time = line.record["time"]
        boot_id = time["boot_id"]
        try:
            utc = datetime.fromisoformat(time["utc"])
        except ValueError:
            self._findings.add("SCHEMA", line.number, f"time.utc is no date ({time['utc']})")
            return
        stamp = _Stamp(line.number, utc, time["boot_us"])
        before = self._boots.get(boot_id)
        if before is not None:
            self._same_boot(before, stamp)
        if self._last_boot not in {boot_id, ""}:
            self._other_boot(self._boots[self._last_boot], stamp)
        self._remember(boot_id, stamp)
        if time["sync"] != "ok":
            self._unsync += 1
            self._first_unsync = self._first_unsync or line.number
        self.first = self.first or time["utc"]
        self.last = time["utc"]

    def _same_boot(self, before: _Stamp, now: _Stamp) -> None:
        wall, boot = _microseconds(now.utc - before.utc), now.boot - before.boot
        if boot < 0:
            self._findings.add(
                "CLOCK_BACK",
                now.line,
                f"the boot clock, which never runs backwards, is {_seconds(-boot)} s behind that of line {before.line}",
            )
        elif abs(wall - boot) > STEP_US:
            self._findings.add(
                "CLOCK_STEP",
                now.line,
                f"since line {before.line} the wall clock moved by {_seconds(wall)} s "
                f"while {_seconds(boot)} s went by: it was set",
            )

    def _other_boot(self, before: _Stamp, now: _Stamp) -> None:
        if before.utc - now.utc > BACK:
            self._findings.add(
                "CLOCK_BACK",
                now.line,
                f"the wall clock is {_seconds(_microseconds(before.utc - now.utc))} s behind that of line {before.line}, "
                "written by another boot or host",
            )

    def _remember(self, boot_id: str, stamp: _Stamp) -> None:
        self._boots[boot_id] = stamp
        if boot_id != self._last_boot:
            self._boots.move_to_end(boot_id)
            self._last_boot = boot_id
            if len(self._boots) > BOOTS:
                self._boots.popitem(last=False)

    def finish(self) -> None:
        """Say once how many records were stamped by a clock that nothing kept right."""
        if self._unsync:
            self._findings.add(
                "CLOCK_UNSYNC",
                self._first_unsync,
                f"the clock was not synchronised when {_records(self._unsync)} written, the first at this line",
            )


def _records(count: int) -> str:
    return "1 record was" if count == 1 else f"{count:,} records were"


def _microseconds(delta: timedelta) -> int:
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _seconds(microseconds: int) -> str:
    return f"{microseconds / 1_000_000:.1f}"
