"""Checkpoints: their own chain, their records, their files, and what they say of the log against what it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit.custody.checkpoint import FIRST_PREV, Checkpoint, body_digest, case_word
from imgkit.custody.verify.beside import shown
from imgkit.custody.verify.checkpoint_files import BODY, SIGNATURE, SUMS, Files, sums_of
from imgkit.custody.verify.finding import lines_from
from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imgkit.custody.verify.checkpoint_files import CheckpointFolder
    from imgkit.custody.verify.finding import Findings
    from imgkit.custody.verify.lines import Line
    from imgkit.custody.verify.prefix import Prefix

_SAID = ("size", "bytes", "head", "file", "merkle", "prev", "signer", "reason")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the line of a checkpoint says of it."""

    line: int
    n: int
    data: Mapping[str, Any]

    def digests(self) -> dict[str, str]:
        """SHA-256 of its files by the ends of their names."""
        body, signature = self.data.get("body"), self.data.get("signature")
        stated = {BODY: body, SIGNATURE: signature}
        lines = [f"{sha}  {self.n:06}{end}\n" for end, sha in stated.items() if isinstance(sha, str)]
        found = {end: sha for end, sha in stated.items() if isinstance(sha, str)}
        return found | {SUMS: hashlib.sha256("".join(lines).encode()).hexdigest()}


@dataclass(frozen=True, slots=True)
class Judged:
    """One checkpoint after its checks.

    Attributes:
        n: Which.
        line: Of its record, or None.
        size: Lines that it speaks of; 0 where nothing says.
        signer, time: As its body says; empty without one.
        agrees: Whether the log is what it says, and it belongs where it stands.
        files: What lies in checkpoints/.
        recorded: Its record, or None.
    """

    n: int
    line: int | None
    size: int
    signer: str
    time: str
    agrees: bool
    files: Files
    recorded: Recorded | None


@dataclass(slots=True)
class _Before:
    """The checkpoint before: its number, size and body's digest."""

    n: int = 0
    size: int = 0
    body: str = FIRST_PREV


class Checkpoints:
    """Collects the records of checkpoints, then judges them beside their files.

    Attributes:
        last_act: The last line that is more than the bookkeeping of checkpoints, stamps and receipts.
        last_recorded: The greatest number of a checkpoint that a line names.
    """

    def __init__(self, findings: Findings, folder: CheckpointFolder) -> None:
        self._findings = findings
        self._folder = folder
        self._records: dict[int, Recorded] = {}
        self._numberless: list[Recorded] = []
        self._case: str | None = None
        self._bodies: dict[int, Checkpoint] = {}
        self._wrong: dict[int, str] = {}
        self.last_act = 0
        self.last_recorded = 0
        for n, files in folder.there.items():
            self._read(n, files)

    def _read(self, n: int, files: Files) -> None:
        if files.body is None:
            return
        try:
            body = Checkpoint.parse(files.body)
        except CustodyError as error:
            self._wrong[n] = error.message
        else:
            self._bodies[n] = body

    def bodies(self) -> Mapping[int, Checkpoint]:
        """What the files say, by number."""
        return self._bodies

    def see(self, line: Line) -> None:
        """Take the next record."""
        kind = line.record["type"]
        if kind not in _BOOKKEEPING:
            self.last_act = line.number
            if line.number == 1:
                self._case = case_word(line.record["data"].get("number"))
        elif kind == "log.checkpointed":
            self._record(line)

    def _record(self, line: Line) -> None:
        data = line.record["data"]
        n = data.get("n")
        known = self.last_recorded
        recorded = Recorded(line.number, n if type(n) is int else known + 1, data)
        if "n" in data and type(n) is not int:
            self._add(
                "CHECKPOINT_CHAIN", line.number, f"records a checkpoint with the number {shown(str(n)):.40}"
            )
        if recorded.n != known + 1:
            self._add(
                "CHECKPOINT_CHAIN",
                line.number,
                f"records checkpoint {recorded.n:,} after checkpoint {known:,}",
            )
        if recorded.n in self._records or recorded.n < 1:
            self._numberless.append(recorded)
        else:
            self._records[recorded.n] = recorded
            self.last_recorded = max(known, recorded.n)

    def _add(self, code: str, line: int | None, message: str) -> None:
        self._findings.add(code, line, message)

    def finish(self, at: Callable[[int], Prefix | None], log: str | None, lines: int) -> list[Judged]:
        """Judge all of them, in their order; `at` gives what the log was at a size, `lines` how many it has."""
        for name in self._folder.stray:
            self._add("EXTRA_FILE", None, f"checkpoints/{shown(name)} is no file of a checkpoint")
        judge = _Judge(self._findings, self, at, log, lines)
        for recorded in self._numberless:
            judge.prefix(_of_record(recorded), recorded.line)
        before, judged = _Before(), []
        for n in sorted(self._records.keys() | self._folder.there.keys()):
            one = judge.one(n, before)
            if one is not None:
                judged.append(one)
        return judged

    # What the judge asks.

    def record(self, n: int) -> Recorded | None:
        """The record of checkpoint `n`."""
        return self._records.get(n)

    @property
    def case(self) -> str | None:
        """The number of the case as a checkpoint says it, or None where line 1 does not say."""
        return self._case

    @property
    def folder_known(self) -> bool:
        """Whether the files are known at all."""
        return self._folder.folder is not None

    def files(self, n: int) -> Files:
        """The files of checkpoint `n`; those that its record names are looked for once more."""
        files = self._folder.there.get(n) or Files(n)
        recorded = self._records.get(n)
        if recorded is not None and self.folder_known:
            wanted = recorded.digests()
            if not wanted.keys() <= files.held.keys():
                files = self._folder.again(n, wanted)
                if n not in self._bodies:
                    self._read(n, files)
        return files

    def why_no_body(self, n: int) -> str | None:
        """What is wrong with a body that is there."""
        return self._wrong.get(n)


_BOOKKEEPING = frozenset({"log.checkpointed", "log.anchored", "receipt.given", "receipt.taken"})


def _of_record(recorded: Recorded) -> Mapping[str, Any]:
    return {key: recorded.data[key] for key in _SAID if key in recorded.data}


class _Judge:
    """One look at all checkpoints."""

    def __init__(
        self,
        findings: Findings,
        all_: Checkpoints,
        at: Callable[[int], Prefix | None],
        log: str | None,
        lines: int,
    ) -> None:
        self._add = findings.add
        self._all = all_
        self._at = at
        self._log = log
        self._lines = lines

    def one(self, n: int, before: _Before) -> Judged | None:
        """Judge checkpoint `n`; `before` is the one before and becomes this one."""
        recorded, files = self._all.record(n), self._all.files(n)
        line = recorded.line if recorded is not None else None
        if (
            recorded is None
            and files.body is None
            and not any(name.endswith(BODY) for name, _ in files.unreadable)
        ):
            self._strays(files)
            return None
        body = self._all.bodies().get(n)
        if self._all.folder_known:
            self._there(recorded, files)
        own = self._chained(n, line, body, recorded, before)
        said = {key: getattr(body, key) for key in _SAID} if body is not None else {}
        if not said and recorded is not None:
            said = dict(_of_record(recorded))
        agrees = self._cut(n, recorded, said) and (not said or self.prefix(said, line))
        before.n, before.size = n, said.get("size", before.size)
        before.body = self._digest(files, recorded)
        time = body.time if body is not None else ""
        signer = body.signer if body is not None else ""
        return Judged(
            n, line, said.get("size", 0), signer, time, agrees and own and bool(said), files, recorded
        )

    def _strays(self, files: Files) -> None:
        names = [f"{files.n:06}{end}" for end in files.held] + [*files.stamps]
        for name in sorted(names + [name for name, _ in files.unreadable]):
            self._add("EXTRA_FILE", None, f"checkpoints/{shown(name)} belongs to no checkpoint")

    def _digest(self, files: Files, recorded: Recorded | None) -> str:
        if files.body is not None:
            return body_digest(files.body)
        return str(recorded.data.get("body", "")) if recorded is not None else ""

    def _there(self, recorded: Recorded | None, files: Files) -> None:
        """The files that must be there are, and hold together."""
        line = recorded.line if recorded is not None else None
        for name, why in files.unreadable:
            self._add("CHECKPOINT_CHAIN", line, f"checkpoints/{shown(name)} cannot be read: {why}")
        unreadable = {name for name, _ in files.unreadable}
        expected = {BODY, SUMS} | (
            {SIGNATURE} if recorded is not None and "signature" in recorded.data else set()
        )
        for end in sorted(expected - files.held.keys()):
            name = f"{files.n:06}{end}"
            if name not in unreadable:
                self._add("CHECKPOINT_CHAIN", line, f"checkpoints/{name} is not there")
        if recorded is not None and files.signature is not None and "signature" not in recorded.data:
            name = f"{files.n:06}{SIGNATURE}"
            self._add("EXTRA_FILE", line, f"checkpoints/{name}: the line says that nobody signed")
        if files.body is not None and SUMS in files.held:
            self._sums(line, files, files.body)

    def _sums(self, line: int | None, files: Files, body: bytes) -> None:
        if files.held[SUMS] != sums_of(files.n, body, files.signature):
            name = f"checkpoints/{files.n:06}{SUMS}"
            self._add("SUMS", line, f"{name} does not say what sha256sum says of the files beside it")

    def _chained(
        self, n: int, line: int | None, body: Checkpoint | None, recorded: Recorded | None, before: _Before
    ) -> bool:
        """Whether body and record say the same; that it follows the one before is told, and is no fault of its own."""
        own = self._own(n, body, recorded)
        for what in (*self._sequence(n, body, recorded, before), *own):
            self._add("CHECKPOINT_CHAIN", line, what)
        return not own

    def _sequence(
        self, n: int, body: Checkpoint | None, recorded: Recorded | None, before: _Before
    ) -> list[str]:
        wrong = []
        if n != before.n + 1:
            gap = (
                f"checkpoint {before.n + 1:,}"
                if n == before.n + 2
                else f"checkpoints {before.n + 1:,} to {n - 1:,}"
            )
            wrong.append(f"{gap} before it left neither file nor line")
        prev = body.prev if body is not None else recorded.data.get("prev") if recorded is not None else None
        if prev is not None and n == before.n + 1 and prev != before.body:
            wrong.append(f"checkpoint {n:,} says that the one before it was another")
        size = body.size if body is not None else recorded.data["size"] if recorded is not None else 0
        if (body is not None or recorded is not None) and size <= before.size:
            wrong.append(f"checkpoint {n:,} speaks of {size:,} lines, the one before it of {before.size:,}")
        return wrong

    def _own(self, n: int, body: Checkpoint | None, recorded: Recorded | None) -> list[str]:
        if body is None:
            why = self._all.why_no_body(n)
            return [f"checkpoints/{n:06}.txt {why}"] if why else []
        wrong = []
        if (body.n, body.log) != (n, self._log):
            wrong.append(f"checkpoints/{n:06}.txt is checkpoint {body.n:,} of log {body.log}")
        elif self._all.case not in {None, body.case}:
            wrong.append(f"checkpoints/{n:06}.txt is of case {body.case!a}, the log of {self._all.case!a}")
        if recorded is not None and _differs(body, recorded):
            wrong.append(f"checkpoints/{n:06}.txt is not what the line says of it")
        return wrong

    def _cut(self, n: int, recorded: Recorded | None, said: Mapping[str, Any]) -> bool:
        """Whether nothing shows by itself that lines are gone; a file has its name only once its line is durable."""
        if recorded is None and n > self._all.last_recorded:
            size = said.get("size", 0)
            self._add(
                "TRUNCATED",
                None,
                f"checkpoint {n:,} was recorded after line {size:,}, and no line says so: the log was longer",
            )
            return bool(0 < size <= self._lines)
        if recorded is None:
            self._add("CHECKPOINT_CHAIN", None, f"no line records checkpoint {n:,}")
        return True

    def prefix(self, said: Mapping[str, Any], line: int | None) -> bool:
        """Whether the first lines of the log are what a checkpoint says of them."""
        size = said["size"]
        if line is not None and size >= line:
            self._add("TRUNCATED", line, f"the checkpoint recorded here speaks of {size:,} lines before it")
            if size > self._lines:
                return False
        elif size > self._lines:
            self._add(
                "TRUNCATED", line, f"a checkpoint speaks of {size:,} lines, the log has {self._lines:,}"
            )
            return False
        found = self._at(size)
        differs = [
            name
            for name in ("bytes", "head", "file")
            if name in said and (found is None or said[name] != getattr(found, name))
        ]
        if differs:
            self._add(
                "FORKED", line, f"a checkpoint says otherwise of {lines_from(1, size)}: {', '.join(differs)}"
            )
            return False
        if found is not None and said.get("merkle", found.merkle) != found.merkle:
            self._add("MERKLE", line, f"the root over lines 1 to {size:,} is {found.merkle}")
            return False
        return True


def _differs(body: Checkpoint, recorded: Recorded) -> bool:
    data = recorded.data
    if "body" in data and data["body"] != body_digest(body.body):
        return True
    return any(data[key] != getattr(body, key) for key in _SAID if key in data)
