"""verify_log: whether a custody log is what it says, found out without writing, locking or trusting anything.

The order of the checks is that of docs/verification-policy.md: lines (encoding, chain, number, log, schema), torn lines,
intents and outcomes, attachments, clocks, enclosures, checkpoints with signatures and time stamps, receipts, this host's
memory, coverage. Each check is a class that sees every line once and finishes; memory does not grow with the log but for
one number an operation, one an enclosure, and the files of each checkpoint.
"""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from imgkit.custody.verify.attachments import Attachments
from imgkit.custody.verify.beside import Enclosures
from imgkit.custody.verify.chain import Chain, Schema
from imgkit.custody.verify.checkpoint_files import CheckpointFolder
from imgkit.custody.verify.checkpoints import Checkpoints
from imgkit.custody.verify.clock import Clocks
from imgkit.custody.verify.coverage import Covered, Seen, covered, not_proved, proved
from imgkit.custody.verify.dates import CheckpointDates
from imgkit.custody.verify.finding import CODES, Findings, LogFinding, Severity
from imgkit.custody.verify.holding import Holding
from imgkit.custody.verify.lines import read_lines, settled_size
from imgkit.custody.verify.memory import HeadMemory
from imgkit.custody.verify.operations import Operations
from imgkit.custody.verify.outside import Outside, lies_in
from imgkit.custody.verify.prefix import Prefixes, recorded_sizes
from imgkit.custody.verify.receipts import Receipts
from imgkit.custody.verify.signatures import Signatures
from imgkit.custody.verify.stamps import Stamps
from imgkit.custody.verify.torn import TornRuns
from imgkit.errors import CustodyError
from imgkit.linux.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from imgkit.custody.checkpoint import Receipt
    from imgkit.custody.state import StateFolder
    from imgkit.custody.verify.lines import Line
    from imgkit.custody.verify.memory import Memory

__all__ = ["CODES", "Covered", "LogFinding", "Severity", "Verification", "verify_log"]

LOG_NAME = "custody.jsonl"
_GZIP = b"\x1f\x8b"


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
        coverage: Range by range of lines, what vouches for them.
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
    coverage: tuple[Covered, ...]
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


def verify_log(
    path: str | os.PathLike[str],
    *,
    state: StateFolder | Memory | None = None,
    signers: str | os.PathLike[str] | None = None,
    revoked: str | os.PathLike[str] | None = None,
    tsa_roots: str | os.PathLike[str] | None = None,
    receipts: Iterable[Receipt | str] = (),
) -> Verification:
    """Verify a custody log, with the files beside it where they are known.

    Args:
        path: A case folder, or a log file; files beside it are looked at where it is called custody.jsonl.
        state: This host's memory, or None to ask none.
        signers: An allowed_signers file from outside the folder; without it signatures are self-asserted.
        revoked: A KRL, or a list of public keys, that are no longer trusted.
        tsa_roots: Certificates (PEM) of time stamp authorities; without them stamps are self-asserted.
        receipts: Receipts that others hold, their texts, or files with them.

    Raises:
        CustodyError: The log, or a list or receipt, cannot be opened or read, or is no regular file.
        HostError: Something is signed, and there is no ssh-keygen.
    """
    log, folder = _place(os.fspath(path))
    outside = Outside(signers, revoked, tsa_roots, tuple(receipts))
    with _opened(log) as file:
        findings = Findings()
        # Memory and folder are asked before the size is: what is added meanwhile is neither a rollback nor a stray file.
        memory = HeadMemory(findings, state, _first_log(file))
        with closing(_Checks(findings, memory, folder, outside)) as checks:
            size = settled_size(file.fileno())
            try:
                checks.run(file, size)
            except OSError as error:
                raise _unreadable(log, error) from error
            return checks.finish(log, folder=folder is not None)


class _Checks:
    """All checks over one reading of a log."""

    def __init__(self, findings: Findings, memory: HeadMemory, folder: str | None, outside: Outside) -> None:
        self.findings = findings
        self.memory = memory
        self.chain = Chain(findings)
        self.schema = Schema(findings)
        self.torn = TornRuns(findings)
        self.operations = Operations(findings)
        self.attachments = Attachments(findings)
        self.clocks = Clocks(findings)
        self.possession = Holding(findings)
        self.enclosures = Enclosures(findings, folder)
        self.files = CheckpointFolder(folder)
        self.checkpoints = Checkpoints(findings, self.files)
        self.dates = CheckpointDates(findings)
        self.signatures = Signatures(findings, folder, outside.signers, outside.revoked)
        self.stamps = Stamps(
            findings, outside.tsa_roots, self.files, inside=lies_in(folder, outside.tsa_roots)
        )
        self.receipts = Receipts(findings, outside.receipts, folder)
        self.prefixes = Prefixes((), _no_bytes)
        self.accepted: list[int] = []

    def close(self) -> None:
        """Let no judging of signatures run on."""
        self.signatures.close()

    def _prepare(self, file: BinaryIO, size: int) -> None:
        """Find out of which sizes somebody speaks, and start on the signatures."""
        bodies = self.checkpoints.bodies()
        self.signatures.begin(self.files.there, bodies)
        self.dates.expect(body.size for body in bodies.values())
        sizes = {*self.receipts.sizes(), *(body.size for body in bodies.values())}
        sizes.update(recorded_sizes(file, size))
        self.prefixes = Prefixes(sizes, partial(os.pread, file.fileno()))

    def run(self, file: BinaryIO, size: int) -> None:
        """Let every check see every line that it can use."""
        self._prepare(file, size)
        file.seek(0)
        first_look: list[Callable[[Line], None]] = [self.chain.see, self.torn.see]
        first_look += [self._remember] if self.memory.head is not None else []
        first_look += [self.prefixes.see] if self.prefixes.any_wanted else []
        sound = self._sound_checks()
        allows = self.schema.allows
        for line in read_lines(file, size):
            for see in first_look:
                see(line)
            if allows(line):
                kind = line.record["type"]
                for types, see in sound:
                    if types is None or kind in types:
                        see(line)

    def _sound_checks(self) -> tuple[tuple[frozenset[str] | None, Callable[[Line], None]], ...]:
        """The checks that use sound records alone, and which types they look at; None: all."""
        return (
            (None, self.operations.see),
            (Attachments.TYPES, self.attachments.see),
            (None, self.clocks.see),
            (None, self.possession.see),
            (None, self.enclosures.see),
            (None, self.checkpoints.see),
            (None, self.dates.see),
            (frozenset({"log.anchored"}), self.stamps.see),
            (frozenset({"log.rollback_accepted"}), self._accept),
        )

    def _remember(self, line: Line) -> None:
        self.memory.see(line, self.chain.joined)

    def _accept(self, line: Line) -> None:
        self.accepted = [*self.accepted[-9:], line.number]

    def finish(self, path: str, *, folder: bool) -> Verification:
        """Let every check tell what only the end shows."""
        chain, findings = self.chain, self.findings
        if chain.bytes == 0:
            findings.add("SCHEMA", None, "the log has no complete line; a log is never empty")
        for check in (self.torn, self.operations, self.attachments, self.clocks, self.enclosures):
            check.finish()
        coverage = self._coverage()
        self.memory.finish(chain.lines)
        seen = self._seen(coverage, folder=folder)
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
            coverage=coverage,
            proved=tuple(proved(seen)),
            not_proved=tuple(not_proved(seen)),
        )

    def _coverage(self) -> tuple[Covered, ...]:
        """Judge checkpoints, signatures, stamps and receipts; tell what vouches for which lines."""
        lines, at = self.chain.lines, self.prefixes.at
        judged = self.checkpoints.finish(at, self.chain.log, lines)
        self.dates.finish(judged)
        self.signatures.finish(judged)
        self.signatures.tail(self.checkpoints.last_act, lines)
        self.stamps.finish(judged)
        self.receipts.finish(at, self.chain.log, lines)
        return covered(
            lines, self.signatures.good, self.stamps.good, self.receipts.good, self._range_remembered()
        )

    def _range_remembered(self) -> range:
        """The lines that this host's memory vouches for: the last one, and what that one is joined to."""
        last = self._remembered()
        return range(self.memory.joined, last + 1) if last is not None else range(0)

    def _remembered(self) -> int | None:
        head = self.memory.head
        return head.size if head is not None and self.memory.matches else None

    def _seen(self, coverage: tuple[Covered, ...], *, folder: bool) -> Seen:
        return Seen(
            log=self.chain.log,
            lines=self.chain.lines,
            codes=self.findings.counts.keys(),
            newer=self.schema.newer,
            remembered=self._remembered(),
            folder=folder,
            unchanged=self.enclosures.unchanged,
            coverage=coverage,
            accepted=tuple(self.accepted),
            unjoined=tuple(self.chain.unjoined),
        )


def _no_bytes(size: int, offset: int) -> bytes:
    del size, offset
    return b""


def _place(path: str) -> tuple[str, str | None]:
    """The log file, and the folder whose other files belong to it."""
    if os.path.isdir(path):
        return os.path.join(path, LOG_NAME), path
    folder, name = os.path.split(os.path.abspath(path))
    return path, folder if name == LOG_NAME else None


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    try:
        file = open_regular(path, follow=True, buffering=1 << 20)
    except OSError as error:
        raise _unreadable(path, error) from error
    with file:
        if os.pread(file.fileno(), len(_GZIP), 0) == _GZIP:
            raise CustodyError(f"cannot verify {path}: it is gzip", hint="unpack a copy: gunzip -k")
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
