"""Time stamps: each reply over the sums of its checkpoint, by an authority that the verifier's own roots know."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from imgkit.custody.verify.beside import shown
from imgkit.custody.verify.checkpoint_files import SUMS, sums_of
from imgkit.custody.verify.finding import lines_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.custody.stamps import StampFacts
    from imgkit.custody.verify.checkpoint_files import CheckpointFolder
    from imgkit.custody.verify.checkpoints import Judged
    from imgkit.custody.verify.finding import Findings
    from imgkit.custody.verify.lines import Line

Path = str | os.PathLike[str]
LATE = timedelta(hours=24)  # a stamp so long after the checkpoint's own clock dates it badly
EARLY = timedelta(seconds=60)  # the same grace as between the clocks of two hosts


class Stamped(NamedTuple):
    """A stamp that is good.

    Attributes:
        n: Of which checkpoint.
        size: How many lines were there at its time.
        time: RFC 3339.
        tsa: Who says so.
        trusted: By the roots from outside; otherwise the reply vouches for itself.
    """

    n: int
    size: int
    time: str
    tsa: str
    trusted: bool


class Stamps:
    """Judges the replies of time stamp authorities that lie beside the checkpoints."""

    def __init__(self, findings: Findings, roots: Path | None, folder: CheckpointFolder) -> None:
        """Args: `roots` come from outside the folder.

        Raises:
            CustodyError: They cannot be read, or are no certificates.
        """
        self._findings = findings
        self._folder = folder
        self._roots = roots
        if roots is not None:
            from imgkit.custody.stamps import read_roots  # noqa: PLC0415  (only who brings some pays for it)

            read_roots(roots)
        self._recorded: dict[str, tuple[int, str]] = {}
        self.good: list[Stamped] = []

    def see(self, line: Line) -> None:
        """Take the record of a stamp."""
        data = line.record["data"]
        name, sha256 = data.get("file"), data.get("sha256")
        if isinstance(name, str) and isinstance(sha256, str):
            self._recorded[name.removeprefix("checkpoints/")] = (line.number, sha256)

    def finish(self, checkpoints: Sequence[Judged]) -> None:
        """Tell what was found."""
        names: set[str] = set()
        for one in checkpoints:
            for name, reply in sorted(one.files.stamps.items()):
                names.add(name)
                self._named(one, name, reply)
                self._judge(one, name, reply)
        if self._folder.folder is not None:
            for name, (number, sha256) in self._recorded.items():
                if name not in names and not self._folder.lies_aside(name, sha256):
                    self._findings.add("CHECKPOINT_CHAIN", number, f"checkpoints/{shown(name)} is not there")
        self._tell_asserted()
        self._tell_missing(checkpoints)

    def _named(self, one: Judged, name: str, reply: bytes) -> None:
        """The log names the reply, and it is the same; of a checkpoint whose own line is gone that is told already."""
        recorded = self._recorded.get(name)
        if recorded is None and one.recorded is not None:
            self._findings.add("EXTRA_FILE", None, f"no line of the log names checkpoints/{shown(name)}")
        elif recorded is not None and recorded[1] != hashlib.sha256(reply).hexdigest():
            self._findings.add(
                "BAD_TIMESTAMP", recorded[0], f"checkpoints/{shown(name)} is not what the line names"
            )

    def _judge(self, one: Judged, name: str, reply: bytes) -> None:
        from imgkit.custody.stamps import check_reply  # noqa: PLC0415  (only where something is stamped)

        sums = one.files.held.get(SUMS, b"")
        facts = check_reply(reply, sums=sums, roots=self._roots)
        wrong = [problem.text for problem in facts.problems]
        if wrong or facts.time is None or (self._roots is not None and not facts.trusted):
            why = wrong[0] if wrong else "no given root vouches for its authority"
            self._findings.add("BAD_TIMESTAMP", one.line, f"checkpoints/{shown(name)}: {shown(why)}")
            return
        self._dated(one, facts, facts.time)
        if (
            one.agrees
            and one.files.body is not None
            and sums == sums_of(one.n, one.files.body, one.files.signature)
        ):
            self.good.append(
                Stamped(
                    one.n, one.size, facts.time, shown(facts.tsa or "an unnamed authority"), facts.trusted
                )
            )

    def _dated(self, one: Judged, facts: StampFacts, time: str) -> None:
        """Hold the stamp's time against the checkpoint's own clock."""
        if not one.time:
            return
        after = when(time) - when(one.time)
        if after > LATE:
            self._findings.add(
                "TIMESTAMP_LATE",
                one.line,
                f"checkpoint {one.n:,} says {one.time}, {shown(facts.tsa or '')} {time}",
            )
        elif after < -EARLY:
            self._findings.add(
                "CLOCK_BACK",
                one.line,
                f"checkpoint {one.n:,} says {one.time}, but was stamped before that: {time}",
            )

    def _tell_asserted(self) -> None:
        asserted = [one for one in self.good if not one.trusted]
        if asserted:
            self._findings.add(
                "SELF_ASSERTED",
                None,
                f"{len(asserted):,} time stamps, the last of {asserted[-1].time}, vouch for themselves: "
                "no certificates of authorities were given",
            )

    def _tell_missing(self, checkpoints: Sequence[Judged]) -> None:
        dated = max((one.size for one in self.good), default=0)
        undated = [one for one in checkpoints if one.size > dated]
        if undated:
            self._findings.add(
                "TIMESTAMP_MISSING",
                undated[-1].line,
                f"no time stamp dates {lines_from(dated + 1, undated[-1].size)}",
            )


def when(time: str) -> datetime:
    """A time as checkpoints and stamps state it; one that no calendar has is the first of all."""
    try:
        return datetime.fromisoformat(time)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
