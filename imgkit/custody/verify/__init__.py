"""verify_log: whether a custody log is what it says, found out without writing, locking or trusting anything.

The order of the checks is that of docs/verification-policy.md: lines (encoding, chain, number, log, schema), torn lines,
intents and outcomes, attachments, clocks, enclosures, checkpoints and receipts (not read yet, and said so), this host's
memory, coverage. Each check is a class that sees every line once and finishes; memory does not grow with the log but for
one number an operation and one an enclosure.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from imgkit.custody.verify.attachments import Attachments
from imgkit.custody.verify.beside import Enclosures, Unchecked
from imgkit.custody.verify.chain import Chain, Schema
from imgkit.custody.verify.clock import Clocks
from imgkit.custody.verify.coverage import Seen, not_proved, proved
from imgkit.custody.verify.finding import CODES, Findings, LogFinding, Severity
from imgkit.custody.verify.lines import read_lines, settled_size
from imgkit.custody.verify.memory import HeadMemory
from imgkit.custody.verify.operations import Operations
from imgkit.custody.verify.torn import TornRuns
from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imgkit.custody.state import StateFolder
    from imgkit.custody.verify.memory import Memory

__all__ = ["CODES", "LogFinding", "Severity", "Verification", "verify_log"]

LOG_NAME = "custody.jsonl"
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO in its place must not make us wait


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification found.

    Attributes:
        path: The log file.
        log: The log's uuid, or None where no line states one.
        lines: Complete lines.
        bytes: Bytes of these lines.
        head: Hash of the last of them; 64 zeros where there is none.
        first: Wall clock of the first sound record, or None.
        last: Wall clock of the last one.
        findings: In the order of the checks; at most 100 of a code, and then how many more.
        counts: How often each code was found.
        newer: The first line that a newer imgkit wrote, or None; then the log can be neither passed nor failed by this one.
        proved: What this verification shows, one sentence each.
        not_proved: What it does not show.
    """

    path: str
    log: str | None
    lines: int
    bytes: int
    head: str
    first: str | None
    last: str | None
    findings: tuple[LogFinding, ...]
    counts: Mapping[str, int]
    newer: int | None
    proved: tuple[str, ...]
    not_proved: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether anything shows that the log is not what it says."""
        return any(CODES[code] is Severity.FAIL for code in self.counts)

    @property
    def ok(self) -> bool:
        """Whether nothing failed and all of it could be read; warnings may stand."""
        return not self.failed and self.newer is None

    @property
    def exit_code(self) -> int:
        """0 in order, 1 failed, 3 written by a newer imgkit."""
        if self.failed:
            return 1
        return 0 if self.newer is None else 3

    @property
    def codes(self) -> frozenset[str]:
        """The codes found."""
        return frozenset(self.counts)

    def __bool__(self) -> NoReturn:
        raise TypeError("ask a Verification for .ok, .failed or .exit_code")


def verify_log(path: str | os.PathLike[str], *, state: StateFolder | Memory | None = None) -> Verification:
    """Verify a custody log, with the files beside it where they are known.

    Args:
        path: A case folder, or a log file; files beside it are looked at where it is called custody.jsonl.
        state: This host's memory, or None to ask none.

    Raises:
        CustodyError: The log cannot be opened or read, or is no regular file.
    """
    log, folder = _place(os.fspath(path))
    with _opened(log) as file:
        findings = Findings()
        # Memory and folder are asked before the size is: what is added meanwhile is neither a rollback nor a stray file.
        memory = HeadMemory(findings, state, _first_log(file))
        checks = _Checks(findings, memory, folder)
        size = settled_size(file.fileno())
        file.seek(0)
        try:
            checks.run(file, size)
        except OSError as error:
            raise _unreadable(log, error) from error
    return checks.finish(log, folder=folder is not None)


class _Checks:
    """All checks over one reading of a log."""

    def __init__(self, findings: Findings, memory: HeadMemory, folder: str | None) -> None:
        self.findings = findings
        self.memory = memory
        self.chain = Chain(findings)
        self.schema = Schema(findings)
        self.torn = TornRuns(findings)
        self.operations = Operations(findings)
        self.attachments = Attachments(findings)
        self.clocks = Clocks(findings)
        self.enclosures = Enclosures(findings, folder)
        self.unchecked = Unchecked(findings, folder)
        self.accepted: list[int] = []

    def run(self, file: BinaryIO, size: int) -> None:
        """Let every check see every line that it can use."""
        any_line = (self.chain.see, self.torn.see, self.memory.see)
        sound = (self.operations.see, self.attachments.see, self.clocks.see, self.enclosures.see)
        allows = self.schema.allows
        for line in read_lines(file, size):
            for see in any_line:
                see(line)
            if allows(line):
                for see in sound:
                    see(line)
                if line.record["type"] == "log.rollback_accepted":
                    self.accepted = [*self.accepted[-9:], line.number]

    def finish(self, path: str, *, folder: bool) -> Verification:
        """Let every check tell what only the end shows."""
        chain, findings = self.chain, self.findings
        if chain.bytes == 0:
            findings.add("SCHEMA", None, "the log has no complete line; a log is never empty")
        for check in (self.torn, self.operations, self.attachments, self.clocks, self.enclosures):
            check.finish()
        self.unchecked.finish(chain.lines)
        self.memory.finish(chain.lines)
        seen = self._seen(folder=folder)
        return Verification(
            path=path,
            log=chain.log,
            lines=chain.lines,
            bytes=chain.bytes,
            head=chain.head,
            first=self.clocks.first,
            last=self.clocks.last,
            findings=findings.listed(),
            counts=dict(findings.counts),
            newer=self.schema.newer,
            proved=tuple(proved(seen)),
            not_proved=tuple(not_proved(seen)),
        )

    def _seen(self, *, folder: bool) -> Seen:
        head = self.memory.head
        return Seen(
            log=self.chain.log,
            lines=self.chain.lines,
            codes=self.findings.counts.keys(),
            newer=self.schema.newer,
            remembered=head.size if head is not None and self.memory.matches else None,
            folder=folder,
            unchanged=self.enclosures.unchanged,
            checkpoints=self.unchecked.checkpoints,
            receipts=self.unchecked.receipts,
            accepted=tuple(self.accepted),
        )


def _place(path: str) -> tuple[str, str | None]:
    """The log file, and the folder whose other files belong to it."""
    if os.path.isdir(path):
        return os.path.join(path, LOG_NAME), path
    folder, name = os.path.split(os.path.abspath(path))
    return path, folder if name == LOG_NAME else None


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    try:
        fd = os.open(path, _READ)
    except OSError as error:
        raise _unreadable(path, error) from error
    with open(fd, "rb", buffering=1 << 20) as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise CustodyError(f"cannot verify {path}: it is no regular file")
        yield file


def _unreadable(path: str, error: OSError) -> CustodyError:
    hint = "name the case folder or its custody.jsonl" if isinstance(error, FileNotFoundError) else None
    return CustodyError(f"cannot read the custody log {path}: {error.strerror or error}", hint=hint)


def _first_log(file: BinaryIO) -> str | None:
    """The uuid that the first readable line states; a memory can only be asked by it."""
    for line in read_lines(file, settled_size(file.fileno())):
        log = line.record.get("log")
        if isinstance(log, str):
            return log
    return None
