"""What a log is now, read whole under its lock: the facts of a checkpoint, and whether the one before still is true.

Every byte is read and hashed each time: who signs, signs what lies there. Only the leaves of the Merkle tree are not hashed
anew where this host remembers them, and the record of an earlier checkpoint confirms what it remembers.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from imgkit.custody.checkpoint import FIRST_PREV, NONE, Checkpoint, case_word
from imgkit.custody.checkpoint_files import RECORDED
from imgkit.custody.clock import stamp
from imgkit.custody.merkle import MerkleTree
from imgkit.custody.record import LINE_LIMIT, MALFORMED, decode, line_hash
from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imgkit.custody.log import CustodyLog

_BLOCK = 1 << 20  # bytes of the log read at a time
Line = bytes  # a field of a class is called bytes, as in the format
_WORTH_REMEMBERING = 256  # lines: hashing them takes as long as remembering that they were


@dataclass(frozen=True, slots=True)
class Before:
    """The checkpoint before, as the log tells it: n, digest of its body, and what it says of the first lines."""

    n: int = 0
    body: str = FIRST_PREV
    size: int = 0
    bytes: int = 0
    file: str | None = None
    merkle: str | None = None

    @classmethod
    def recorded(cls, line: Line) -> Self | None:
        """Return what a line records; None where it is torn or somebody else's: it counts for nothing."""
        with contextlib.suppress(CustodyError, *MALFORMED):
            data = decode(line)["data"]
            facts = (data["n"], data["body"], data["size"], data["bytes"], data["file"], data["merkle"])
            if [type(fact) for fact in facts] == [int, str, int, int, str, str]:
                return cls(*facts)
        return None


@dataclass(slots=True)
class Measure:
    """What was read of a log.

    Attributes:
        before: The last checkpoint that it records.
        known: How many lines were not hashed one by one, for this host remembered them.
    """

    before: Before = field(default_factory=Before)
    known: int = 0
    _hasher: hashlib._Hash = field(default_factory=hashlib.sha256)
    _tree: MerkleTree = field(default_factory=MerkleTree)
    _length: int = 0
    _final: bytes = b""
    _beside: tuple[int, hashlib._Hash, bytes] | None = (
        None  # where `before` stands: offset, hash up to it, lines
    )

    def take(self, whole: bytes) -> None:
        """The next whole lines."""
        lines = whole.split(b"\n")[:-1]
        if RECORDED in whole and (last := _last_of(lines)) is not None:
            self.before, self._beside = last, (self._length, self._hasher.copy(), whole)
        self._hasher.update(whole)
        for leaf in [hashlib.sha256(b"\x00" + line + b"\n").digest() for line in lines]:
            self._tree.add_leaf(leaf)
        self._length, self._final = self._length + len(whole), lines[-1] + b"\n"

    @property
    def memory(self) -> dict[str, Any] | None:
        """What saves time if it is remembered until the next time; None where that is not worth it."""
        if self._tree.size - self.known < _WORTH_REMEMBERING:
            return None
        return {
            "size": self._tree.size,
            "bytes": self._length,
            "file": self._hasher.hexdigest(),
            "peaks": [peak.hex() for peak in self._tree.peaks],
        }

    def resume(self, fd: int, memory: dict[str, Any]) -> bool:
        """Go on where an earlier reading ended, if the same bytes lie there, and the log records that very tree."""
        with contextlib.suppress(*MALFORMED):
            size, count, file = memory["size"], memory["bytes"], memory["file"]
            tree = MerkleTree.resume(size, [bytes.fromhex(peak) for peak in memory["peaks"]])
            if count <= 0:
                return False
            said, hasher = (size, count, file, tree.root().hex()), hashlib.sha256()
            if not any(
                said == (one.size, one.bytes, one.file, one.merkle) for one in _recorded_since(fd, count)
            ):
                return False
            for at in range(0, count, _BLOCK):
                hasher.update(os.pread(fd, min(_BLOCK, count - at), at))
            if hasher.hexdigest() == file:
                self._hasher, self._tree, self._length, self.known = hasher, tree, count, size
                return True
        return False

    def contradiction(self, fd: int) -> str | None:
        """Say so where the first lines are not what the checkpoint before says of them: whoever signs should know."""
        if self._beside is None:
            return None
        start, hasher, whole = self._beside
        rest = self.before.bytes - start
        if 0 <= rest <= len(whole):
            hasher.update(whole[:rest])
        else:
            hasher = hashlib.sha256(b"".join(_pieces(fd, 0, self.before.bytes)))
        if hasher.hexdigest() == self.before.file:
            return None
        return (
            f"the first {self.before.size} lines are not what checkpoint {self.before.n} says of them: "
            "find out why before you rely on this one (imgkit log verify)"
        )

    def checkpoint(self, log: CustodyLog) -> Checkpoint:
        """What the next checkpoint says, but for signer and reason."""
        return Checkpoint(
            n=self.before.n + 1,
            log=log.uuid,
            case=case_word(log.opening["data"].get("number")),
            size=self._tree.size,
            bytes=self._length,
            head=line_hash(self._final),
            file=self._hasher.hexdigest(),
            merkle=self._tree.root().hex(),
            prev=self.before.body,
            time=stamp()["utc"],
            signer=NONE,
            reason=NONE,
        )


def measure(fd: int, log: CustodyLog) -> Measure:
    """Read every complete line of a log that is open and locked.

    Raises:
        CustodyError: Code BAD_LINE: a line is longer than one can be.
        OSError: It cannot be read.
    """
    found = Measure()
    memory = log.session.state.tree(log.uuid)
    start = memory["bytes"] if memory is not None and found.resume(fd, memory) else 0
    for whole in _blocks(fd, start, log.path):
        found.take(whole)
    return found


def _blocks(fd: int, start: int, path: str) -> Iterator[bytes]:
    """The log from `start` in pieces of whole lines; bytes after the last LF are no line."""
    rest = b""
    for block in _pieces(fd, start):
        whole, newline, rest = (rest + block).rpartition(b"\n")
        if len(rest) > LINE_LIMIT:
            raise CustodyError(f"custody log {path!r} holds a line that is too long", code="BAD_LINE")
        if newline:
            yield whole + newline


def _pieces(fd: int, start: int, end: int | None = None) -> Iterator[bytes]:
    at = start
    while end is None or at < end:
        block = os.pread(fd, _BLOCK if end is None else min(_BLOCK, end - at), at)
        if not block:
            return
        yield block
        at += len(block)


def _recorded_since(fd: int, start: int) -> Iterator[Before]:
    """The checkpoints that are recorded after byte `start`, where a line begins."""
    for whole in _blocks(fd, start, ""):
        if RECORDED in whole:
            yield from _recorded(whole.split(b"\n"))


def _recorded(lines: Iterable[bytes]) -> Iterator[Before]:
    for line in lines:
        if RECORDED in line and (one := Before.recorded(line + b"\n")) is not None:
            yield one


def _last_of(lines: list[bytes]) -> Before | None:
    return next(_recorded(reversed(lines)), None)
