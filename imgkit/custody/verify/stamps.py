"""Time stamps: each reply over the sums of its checkpoint, by an authority that the verifier's own roots know."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from imgkit.custody.verify.beside import shown
from imgkit.custody.verify.checkpoint_files import SUMS, sums_of
from imgkit.custody.verify.dates import EARLY, when
from imgkit.custody.verify.finding import lines_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgkit.custody.stamps import StampFacts
    from imgkit.custody.verify.checkpoint_files import CheckpointFolder
    from imgkit.custody.verify.checkpoints import Judged
    from imgkit.custody.verify.finding import Findings
    from imgkit.custody.verify.lines import Line

Path = str | os.PathLike[str]
LATE = timedelta(hours=24)  # a stamp so long after the checkpoint's own clock dates it badly


class _Recorded(NamedTuple):
    """What a line says of a reply: its SHA-256, and what it states; and when that line says that it was written."""

    line: int
    sha256: str
    utc: str
    data: Mapping[str, Any]


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

    def __init__(
        self, findings: Findings, roots: Path | None, folder: CheckpointFolder, *, inside: bool
    ) -> None:
        """Args: `roots` are the verifier's; `inside` the case folder they vouch for nothing.

        Raises:
            CustodyError: They cannot be read, or are no certificates.
        """
        self._findings = findings
        self._folder = folder
        self._roots = roots
        self._outside = roots is not None and not inside
        if roots is not None:
            from imgkit.custody.stamps import read_roots  # noqa: PLC0415  (only who brings some pays for it)

            read_roots(roots)
        self._recorded: dict[str, _Recorded] = {}
        self.good: list[Stamped] = []

    def see(self, line: Line) -> None:
        """Take the record of a stamp."""
        data = line.record["data"]
        name, sha256 = data.get("file"), data.get("sha256")
        if isinstance(name, str) and isinstance(sha256, str):
            recorded = _Recorded(line.number, sha256, line.record["time"]["utc"], data)
            self._recorded[name.removeprefix("checkpoints/")] = recorded

    def finish(self, checkpoints: Sequence[Judged]) -> None:
        """Tell what was found."""
        names: set[str] = set()
        for one in checkpoints:
            for name, reply in sorted(one.files.stamps.items()):
                names.add(name)
                self._named(one, name, reply)
                self._judge(one, name, reply)
        if self._folder.folder is not None:
            for name, recorded in self._recorded.items():
                if name not in names and not self._folder.lies_aside(name, recorded.sha256):
                    what = f"checkpoints/{shown(name)} is not there"
                    self._findings.add("CHECKPOINT_CHAIN", recorded.line, what)
        self._tell_asserted()
        self._tell_missing(checkpoints)

    def _named(self, one: Judged, name: str, reply: bytes) -> None:
        """The log names the reply, and it is the same; of a checkpoint whose own line is gone that is told already."""
        recorded = self._recorded.get(name)
        if recorded is None and one.recorded is not None:
            self._findings.add("EXTRA_FILE", None, f"no line of the log names checkpoints/{shown(name)}")
        elif recorded is not None and recorded.sha256 != hashlib.sha256(reply).hexdigest():
            self._findings.add(
                "BAD_TIMESTAMP", recorded.line, f"checkpoints/{shown(name)} is not what the line names"
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
        self._received(one, name, reply, facts)
        if (
            one.agrees
            and one.files.body is not None
            and sums == sums_of(one.n, one.files.body, one.files.signature)
        ):
            self.good.append(
                Stamped(
                    one.n,
                    one.size,
                    facts.time,
                    shown(facts.tsa or "an unnamed authority"),
                    facts.trusted and self._outside,
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

    def _received(self, one: Judged, name: str, reply: bytes, facts: StampFacts) -> None:
        """The line that holds the reply's digest says of it what it is, and cannot be older."""
        recorded = self._recorded.get(name)
        if recorded is None or recorded.sha256 != hashlib.sha256(reply).hexdigest():
            return
        true = {"n": one.n, "time": facts.time, "serial": facts.serial, "sums": facts.imprint}
        for key in [key for key in true if key in recorded.data]:
            if _meant(key, recorded.data[key]) != _meant(key, true[key]):
                said = f"the line says that {key} is {shown(str(recorded.data[key]))}, the reply {true[key]}"
                self._findings.add("BAD_TIMESTAMP", recorded.line, said)
        if when(recorded.utc) - when(facts.time or "") < -EARLY:
            self._findings.add(
                "CLOCK_BACK",
                recorded.line,
                f"the line says {recorded.utc}, but the reply that it records was made after that: {facts.time}",
            )

    def _tell_asserted(self) -> None:
        asserted = [one for one in self.good if not one.trusted]
        if asserted:
            self._findings.add(
                "SELF_ASSERTED",
                None,
                f"{len(asserted):,} time stamps, the last of {asserted[-1].time}, vouch for themselves: "
                "no certificates of authorities from outside were given",
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


def _meant(key: str, value: object) -> object:
    """What a fact of a stamp means, however it is written: a time to the second, a number in hex without zeros before it."""
    if key == "time" and isinstance(value, str):
        return when(value).replace(microsecond=0)
    return value.lower().lstrip("0") if key == "serial" and isinstance(value, str) else value
