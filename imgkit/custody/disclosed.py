"""Disclosed lines, checked by whoever received them: the folder is all there is, and nothing in it is trusted."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from imgkit.custody.checkpoint import BODY_LIMIT, Checkpoint
from imgkit.custody.durable import told
from imgkit.custody.merkle import leaf_hash, root_from_path
from imgkit.custody.record import LINE_LIMIT, decode, line_hash, printable
from imgkit.custody.schema import is_newer
from imgkit.custody.ssh import SignatureCheck, verify_signature
from imgkit.errors import CustodyError
from imgkit.linux.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

_FAILING = frozenset({"MERKLE", "SEQ", "FOREIGN_LOG", "CHAIN_BREAK", "SUMS", "EXTRA_FILE"}) | {
    *("BAD_SIGNATURE", "KEY_REVOKED", "WEAK_KEY", "BAD_TIMESTAMP")
}
# Whoever names a list of signers wants a signature of one of them: without it the lines could be anybody's.
_FAILING_WITH_LIST = frozenset({"UNSIGNED_CHECKPOINT", "UNKNOWN_SIGNER"})

_PATH_LINE = re.compile(rb"([1-9][0-9]{0,14})((?: [0-9a-f]{64}){0,50})")
_CHECKPOINT = re.compile(r"([0-9]{6,15})(\.txt|\.txt\.sig|\.sums|\.sums\.[A-Za-z0-9._-]{1,64}\.tsr)\Z")
_LIMITS = {".txt": BODY_LIMIT, ".txt.sig": 65_536, ".sums": 4096}
_STAMP_LIMIT = 1 << 20
_FILES = frozenset({"lines.jsonl", "paths.txt", "checkpoints", "README.txt", "check.sh"})
_COUNT_LIMIT = 1_000_000  # lines
_CODES = {"revoked": "KEY_REVOKED", "weak": "WEAK_KEY", "unknown": "UNKNOWN_SIGNER"}


@dataclass(frozen=True, slots=True)
class DisclosureFinding:
    """One thing that was found.

    Attributes:
        code: Of docs/verification-policy.md.
        line: Number of the line in the log, or None.
        message: One sentence.
        failed: Whether it shows that something is not what it says.
    """

    code: str
    line: int | None
    message: str
    failed: bool


@dataclass(frozen=True, slots=True)
class DisclosureCheck:
    """What was found about a disclosure.

    Attributes:
        folder: Where it lies.
        checkpoint: That the lines belong to.
        lines: Numbers of those that do.
        count: Lines that were disclosed.
        signature: What a list of signers says of the signature; None: unsigned, or no list.
        stamps: (name of the file, time, whether its roots are trusted).
        findings: In the order of the checks.
    """

    folder: str
    checkpoint: Checkpoint
    lines: tuple[int, ...]
    count: int
    signature: SignatureCheck | None
    stamps: tuple[tuple[str, str, bool], ...]
    findings: tuple[DisclosureFinding, ...]

    @property
    def failed(self) -> bool:
        """Whether anything fails."""
        return any(item.failed for item in self.findings)

    def __bool__(self) -> NoReturn:
        raise TypeError("ask a DisclosureCheck for .failed")


def check_disclosure(
    folder: str,
    *,
    signers: str | os.PathLike[str] | None = None,
    revoked: str | os.PathLike[str] | None = None,
    tsa_roots: str | os.PathLike[str] | None = None,
) -> DisclosureCheck:
    """Check a folder of disclosed lines; nothing is written.

    Args:
        folder: As write_disclosure made it.
        signers: An allowed_signers file of the receiver's own.
        revoked: Keys that are no longer trusted.
        tsa_roots: Certificates (PEM) of time stamp authorities that are trusted.

    Raises:
        CustodyError: It is no disclosure, or cannot be read.
    """
    check = _Check(folder, listed=signers is not None)
    check.checkpoint_files()
    check.signature(signers, revoked)
    stamps = tuple(check.stamps(tsa_roots))
    lines = tuple(check.lines())
    return DisclosureCheck(
        folder, check.point, lines, check.count, check.judged, stamps, tuple(check.findings)
    )


class _Check:
    def __init__(self, folder: str, *, listed: bool) -> None:
        self.folder = folder
        self._failing = _FAILING | (_FAILING_WITH_LIST if listed else frozenset())
        self.findings: list[DisclosureFinding] = []
        self.judged: SignatureCheck | None = None
        self.count = 0
        with told(f"read the disclosure {folder!r}", given=True):
            there = set(os.listdir(folder))
            names = sorted(os.listdir(os.path.join(folder, "checkpoints")))
        self.files: dict[str, bytes] = {}
        for name in names:
            match = _CHECKPOINT.match(name)
            if match is None:
                self._add("EXTRA_FILE", None, f"checkpoints/{printable(name)} is no file of a checkpoint")
            else:
                limit = _LIMITS.get(match[2], _STAMP_LIMIT)
                self.files[name] = _read(os.path.join(folder, "checkpoints", name), limit)
        for name in sorted(there - _FILES):
            self._add("EXTRA_FILE", None, f"{printable(name)} does not belong to a disclosure")
        bodies = [name for name in self.files if name.endswith(".txt")]
        if len(bodies) != 1:
            raise CustodyError(f"{folder!r} is no disclosure: it has {len(bodies)} checkpoints, not one")
        self.body = self.files[bodies[0]]
        self.point = Checkpoint.parse(self.body)
        self.name = bodies[0].removesuffix(".txt")

    def _add(self, code: str, line: int | None, message: str) -> None:
        self.findings.append(DisclosureFinding(code, line, message, code in self._failing))

    def checkpoint_files(self) -> None:
        """The names, and the sums of body and signature."""
        if self.name != self.point.name:
            self._add("SUMS", None, f"checkpoint {self.point.n} lies under the name {self.name}")
        expected = "".join(
            f"{hashlib.sha256(self.files[name]).hexdigest()}  {name}\n"
            for name in (f"{self.name}.txt", f"{self.name}.txt.sig")
            if name in self.files
        )
        if self.files.get(f"{self.name}.sums") != expected.encode():
            self._add("SUMS", None, f"{self.name}.sums is not of these files")
        for name in self.files:
            if not name.startswith(f"{self.name}."):
                self._add("EXTRA_FILE", None, f"checkpoints/{name} is of another checkpoint")

    def signature(
        self, signers: str | os.PathLike[str] | None, revoked: str | os.PathLike[str] | None
    ) -> None:
        """Who signed, as far as the receiver's own list tells."""
        armoured = self.files.get(f"{self.name}.txt.sig")
        if armoured is None:
            self._add("UNSIGNED_CHECKPOINT", None, "nobody signed the checkpoint")
        else:
            self._judge(armoured, signers, revoked)

    def _judge(
        self,
        armoured: bytes,
        signers: str | os.PathLike[str] | None,
        revoked: str | os.PathLike[str] | None,
    ) -> None:
        """As for the checkpoints of a whole log: keys are judged at the time that the checkpoint states."""
        check = verify_signature(
            self.body,
            armoured,
            signers=signers if signers is not None else os.devnull,
            principal=self.point.signer,
            revoked=revoked,
            at=self.point.time,
        )
        if signers is None and check.status == "unknown":
            said = f"nobody vouches for {check.fingerprint} as {self.point.signer}: name a list of signers"
            self._add("SELF_ASSERTED", None, said)
            return
        self.judged = check
        if check.status != "trusted":
            self._add(_CODES.get(check.status, "BAD_SIGNATURE"), None, check.detail)

    def stamps(self, roots: str | os.PathLike[str] | None) -> Iterator[tuple[str, str, bool]]:
        """When somebody else saw the sums."""
        sums = self.files.get(f"{self.name}.sums", b"")
        for name in sorted(self.files):
            if not name.endswith(".tsr"):
                continue
            from imgkit.custody.stamps import check_reply  # noqa: PLC0415 - only where there is a stamp

            facts = check_reply(self.files[name], sums=sums, roots=roots)
            if facts.problems:
                self._add("BAD_TIMESTAMP", None, f"{name}: {facts.problems[0].text}")
            else:
                yield name, str(facts.time), facts.trusted

    def lines(self) -> Iterator[int]:
        """Each line's way to the root; yields the numbers of those that lead there."""
        paths = self._paths()
        before = (0, "")
        with _opened(os.path.join(self.folder, "lines.jsonl")) as file:
            for number, path in paths:
                line = file.readline(LINE_LIMIT)
                self.count += 1
                if self._belongs(number, line, path, before):
                    yield number
                before = number, line_hash(line)
            if file.read(1):
                self._add("EXTRA_FILE", None, "lines.jsonl has lines without a path")

    def _paths(self) -> list[tuple[int, list[bytes]]]:
        found: list[tuple[int, list[bytes]]] = []
        with _opened(os.path.join(self.folder, "paths.txt")) as file:
            while line := file.readline(LINE_LIMIT):
                match = _PATH_LINE.fullmatch(line.removesuffix(b"\n"))
                if match is None or len(found) == _COUNT_LIMIT or not line.endswith(b"\n"):
                    raise CustodyError(f"paths.txt of {self.folder!r} is damaged at line {len(found) + 1}")
                nodes = [bytes.fromhex(word.decode()) for word in match[2].split()]
                found.append((int(match[1]), nodes))
        if not found:
            raise CustodyError(f"{self.folder!r} discloses no line")
        return found

    def _belongs(self, number: int, line: bytes, path: list[bytes], before: tuple[int, str]) -> bool:
        """Whether it stood at this number; else, what of it is not so."""
        if number <= before[0]:
            self._add("SEQ", number, "it is not in order")
        if root_from_path(leaf_hash(line), number - 1, self.point.size, path) != bytes.fromhex(
            self.point.merkle
        ):
            self._add("MERKLE", number, "it does not belong to the checkpoint at this number")
            return False
        if number == self.point.size and line_hash(line) != self.point.head:
            self._add("MERKLE", number, "it is not the head that the checkpoint names")
        self._record(number, line, before)
        return True

    def _record(self, number: int, line: bytes, before: tuple[int, str]) -> None:
        """What the line says of itself. A torn line says nothing, and the log has it all the same."""
        try:
            record = decode(line)
        except CustodyError:
            self._add("TORN_SEALED", number, "it is no record: a torn write that the log has at this number")
            return
        if is_newer(record):
            self._add("NEWER", number, "written by a newer imgkit")
        if record.get("seq") != number:
            self._add("SEQ", number, f"it says that it is line {str(record.get('seq'))[:20]}")
        if record.get("log") != self.point.log:
            self._add("FOREIGN_LOG", number, "it is of another log than the checkpoint")
        if before[0] == number - 1 and number > 1 and record.get("prev") != before[1]:
            self._add("CHAIN_BREAK", number, f"it does not point at line {number - 1}")


def _read(path: str, limit: int) -> bytes:
    with _opened(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise CustodyError(f"{path!r} has more than {limit:,} bytes")
    return data


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """A file of the folder: no link to elsewhere, nothing that makes us wait.

    Raises:
        CustodyError: It cannot be read, or is no regular file.
    """
    with told(f"read {path!r}", given=True), open_regular(path) as file:
        yield file
