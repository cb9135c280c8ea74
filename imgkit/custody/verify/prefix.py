"""What the log was at each size that a checkpoint or a receipt speaks of, found in the one reading of it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from imgkit.custody.merkle import MerkleTree
from imgkit.custody.record import LINE_LIMIT, decode
from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from imgkit.custody.verify.lines import Line

RECORDED = b'"type":"log.checkpointed"'
_BLOCK = 1 << 20
_BATCH = 64  # lines hashed together; each has at most 65,536 bytes
_sha256 = hashlib.sha256


class Prefix(NamedTuple):
    """What the first `size` lines are; as in a checkpoint."""

    size: int
    bytes: int
    head: str
    file: str
    merkle: str


class Prefixes:
    """Takes prefix hash and Merkle root at the sizes that are wanted, and does nothing beyond the last of them."""

    def __init__(self, wanted: Iterable[int], pread: Callable[[int, int], bytes]) -> None:
        """Args: `pread` reads so many bytes of the log at an offset: a line that is too long is not held."""
        self._wanted = sorted(set(wanted), reverse=True)
        self._pread = pread
        self._file = _sha256()
        self._tree = MerkleTree()
        self._lines: list[bytes] = []
        self._taken: dict[int, Prefix] = {}
        while self._wanted and self._wanted[-1] <= 0:
            self._wanted.pop()  # a log is never empty

    @property
    def any_wanted(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._wanted)

    def see(self, line: Line) -> None:
        """Take the next line."""
        if not self._wanted or not line.ended:
            return
        lines = self._lines
        if line.size == len(line.raw):
            lines.append(line.raw)
        else:
            self._long(line)
        if line.number == self._wanted[-1]:
            self._flush()
            self._take(line)
        elif len(lines) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        self._file.update(b"".join(self._lines))
        add = self._tree.add_leaf
        for raw in self._lines:
            add(_sha256(b"\x00" + raw).digest())
        self._lines.clear()

    def _long(self, line: Line) -> None:
        self._flush()
        leaf, at = _sha256(b"\x00"), line.end - line.size
        while at < line.end and (piece := self._pread(min(_BLOCK, line.end - at), at)):
            self._file.update(piece)
            leaf.update(piece)
            at += len(piece)
        self._tree.add_leaf(leaf.digest())

    def _take(self, line: Line) -> None:
        self._wanted.pop()
        merkle = self._tree.root().hex()
        self._taken[line.number] = Prefix(
            line.number, line.end, line.hash, self._file.copy().hexdigest(), merkle
        )

    def at(self, size: int) -> Prefix | None:
        """What the first `size` lines are, or None where there are fewer, or this was not wanted."""
        return self._taken.get(size)


def recorded_sizes(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield the sizes that records of checkpoints in the first `size` bytes state: those lie before the records."""
    at, rest = 0, b""
    file.seek(0)
    while at < size and (block := file.read(min(_BLOCK, size - at))):
        at += len(block)
        if RECORDED in block or RECORDED in rest + block[: len(RECORDED)]:
            for line in (rest + block).split(b"\n"):
                if RECORDED in line:
                    yield from _size_of(line + b"\n")
        rest = block[block.rfind(b"\n") + 1 :] if b"\n" in block else rest + block
        rest = rest[-LINE_LIMIT:]


def _size_of(line: bytes) -> Iterator[int]:
    try:
        data = decode(line).get("data")
    except CustodyError:
        return  # cut by the end of a block, or bad: its own check tells
    size = data.get("size") if isinstance(data, dict) else None
    if type(size) is int:
        yield size
