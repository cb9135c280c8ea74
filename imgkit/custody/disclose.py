"""Chosen lines of a log for somebody who is not to see the others: raw, with their Merkle paths and a checkpoint.

The format is in docs/custody-log.md. Nothing is made but the folder: the checkpoint is one that the case has.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit.custody.checkpoint import Checkpoint
from imgkit.custody.durable import NEW_FILE, read_whole, sync_folder, told, write_all
from imgkit.custody.merkle import leaf_hash, node_hash
from imgkit.custody.reading import lines_of
from imgkit.custody.record import decode
from imgkit.errors import CustodyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MAGIC = "imgkit-disclosure/v1"
LINES, PATHS, CHECKPOINTS = "lines.jsonl", "paths.txt", "checkpoints"
PACKAGED = {"README.txt": "disclosure.txt", "check.sh": "disclosure.sh"}

_BODY = re.compile(r"([0-9]{6,15})\.txt\Z")
_FILE_LIMIT = 1 << 20
_NAMED = 20  # lines that a notice lists


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What is handed over.

    Attributes:
        log: UUID of the log.
        checkpoint: Which the lines are shown to belong to.
        lines: Number to bytes with the LF, in order.
        paths: Number to the hashes from the leaf to the root.
        files: Of the checkpoint, by name.
        notices: Sentences for whoever discloses.
    """

    log: str
    checkpoint: Checkpoint
    lines: Mapping[int, bytes]
    paths: Mapping[int, tuple[bytes, ...]]
    files: Mapping[str, bytes]
    notices: tuple[str, ...]

    @property
    def signed(self) -> bool:
        """Whether the checkpoint has a signature."""
        return f"{self.checkpoint.name}.txt.sig" in self.files


class _Chosen:
    """The lines that were asked for, and those that say what became of them; leaf hashes of all."""

    def __init__(self, exhibit: str | None, numbers: Iterable[int]) -> None:
        self._exhibit = exhibit
        self._numbers = frozenset(numbers)
        self._ops: set[str] = set()
        self.lines: dict[int, bytes] = {}
        self.leaves: list[bytes] = []
        self.bytes = [0]
        self.shared: list[int] = []

    def see(self, line: bytes) -> None:
        self.leaves.append(leaf_hash(line))
        self.bytes.append(self.bytes[-1] + len(line))
        number = len(self.leaves)
        if number in self._numbers or self._belongs(line):
            self.lines[number] = line

    def _belongs(self, line: bytes) -> bool:
        """Of the exhibit, or the end or the correction of a line that is."""
        if self._exhibit is None:
            return False
        try:
            record = decode(line)
        except CustodyError:
            return False  # torn: of no exhibit; a bad line does not fit the checkpoint
        data = record.get("data")
        facts: dict[str, Any] = data if isinstance(data, dict) else {}
        op = record.get("op")
        handled = _exhibits(facts)
        if self._exhibit in handled and len(handled) > 1:
            self.shared.append(len(self.leaves))
        if record.get("exhibit") == self._exhibit or handled == {self._exhibit} or op in self._ops:
            if isinstance(op, str):
                self._ops.add(op)
            return True
        kind = record.get("type")
        if kind == "op.reconciled":
            return facts.get("op") in self._ops
        return kind == "correction.added" and facts.get("line") in self.lines


def _exhibits(facts: dict[str, Any]) -> set[str]:
    """The exhibits that a custody.* record lists."""
    listed = facts.get("exhibits")
    if not isinstance(listed, list):
        return set()
    names = (one.get("exhibit") if isinstance(one, dict) else one for one in listed)
    return {name for name in names if isinstance(name, str)}


def disclose(log: str, *, exhibit: str | None = None, numbers: Sequence[int] = ()) -> Disclosure:
    """Choose lines of a log, and prove that they belong to the newest signed checkpoint that covers them.

    With the lines of an exhibit come what reconciled them, what corrects them, and hand-overs of it alone. Where no
    checkpoint that covers them is signed, the newest is taken.

    Args:
        log: Its custody.jsonl.
        exhibit: All lines of it.
        numbers: These lines, too.

    Raises:
        UsageError: Nothing was asked for, or it is not in the log.
        CustodyError: The log cannot be read; no checkpoint covers the lines; code MERKLE: the log is not what it says.
    """
    if exhibit is None and not numbers:
        raise UsageError("nothing to disclose", hint="--exhibit EX1, --line N")
    chosen = _Chosen(exhibit, numbers)
    for _offset, line in lines_of(log, None):
        chosen.see(line)
    if missing := sorted(set(numbers) - chosen.lines.keys()):
        raise UsageError(f"{log!r} has no line {missing[0]}: it has {len(chosen.leaves)}")
    if not chosen.lines:
        raise UsageError(f"no line of {log!r} is of exhibit {exhibit!r}", hint="imgkit case show lists them")
    checkpoint, files = _checkpoint(os.path.dirname(log), max(chosen.lines), len(chosen.leaves))
    _agrees(checkpoint, chosen)
    paths = inclusion_paths(chosen.leaves[: checkpoint.size], [number - 1 for number in chosen.lines])
    return Disclosure(
        checkpoint.log,
        checkpoint,
        chosen.lines,
        {index + 1: path for index, path in paths.items()},
        files,
        (*_shared(exhibit, chosen), *_notices(checkpoint, files)),
    )


def _shared(exhibit: str | None, chosen: _Chosen) -> Iterator[str]:
    """Lines that would tell of other exhibits, too: whoever discloses decides."""
    if left := [number for number in chosen.shared if number not in chosen.lines]:
        numbers = ", ".join(map(str, left[:_NAMED])) + (" …" if len(left) > _NAMED else "")
        yield f"lines about {exhibit} and other exhibits are left out ({numbers}): --line N gives them, too"


def inclusion_paths(leaves: Sequence[bytes], indexes: Iterable[int]) -> dict[int, tuple[bytes, ...]]:
    """As merkle.inclusion_path for many leaves, the tree being hashed once."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        level = levels[-1]
        above = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        levels.append(above + level[len(level) & ~1 :])  # the last of an odd number moves up as it is
    return {index: tuple(_siblings(levels, index)) for index in indexes}


def _siblings(levels: Sequence[Sequence[bytes]], index: int) -> Iterator[bytes]:
    for level in levels[:-1]:
        if index ^ 1 < len(level):
            yield level[index ^ 1]
        index >>= 1


def _checkpoint(folder: str, last: int, lines: int) -> tuple[Checkpoint, dict[str, bytes]]:
    place, newest = os.path.join(folder, CHECKPOINTS), None
    with told(f"read the checkpoints in {place!r}"):
        names = sorted(os.listdir(place), key=lambda name: (len(name), name), reverse=True)
        for name in names:
            match = _BODY.fullmatch(name)
            if match is None:
                continue
            checkpoint = Checkpoint.parse(read_whole(os.path.join(place, name), limit=_FILE_LIMIT))
            if not last <= checkpoint.size <= lines:
                continue
            found = checkpoint, _files(place, match[1], names)
            if f"{match[1]}.txt.sig" in found[1]:
                return found
            newest = newest or found
    if newest is None:
        raise CustodyError(
            f"no checkpoint of {folder!r} covers line {last}", hint="imgkit log checkpoint makes one"
        )
    return newest


def _files(place: str, stem: str, names: Iterable[str]) -> dict[str, bytes]:
    wanted = (
        name
        for name in names
        if name in {f"{stem}.txt", f"{stem}.txt.sig", f"{stem}.sums"}
        or (name.startswith(f"{stem}.sums.") and name.endswith(".tsr"))
    )
    return {name: read_whole(os.path.join(place, name), limit=_FILE_LIMIT) for name in sorted(wanted)}


def _agrees(checkpoint: Checkpoint, chosen: _Chosen) -> None:
    from imgkit.custody.merkle import root_of  # noqa: PLC0415

    root = root_of(chosen.leaves[: checkpoint.size]).hex()
    if root != checkpoint.merkle or chosen.bytes[checkpoint.size] != checkpoint.bytes:
        raise CustodyError(
            f"the first {checkpoint.size} lines are not what checkpoint {checkpoint.n} says",
            code="MERKLE",
            hint="imgkit log verify",
        )


def _notices(checkpoint: Checkpoint, files: Mapping[str, bytes]) -> Iterator[str]:
    if f"{checkpoint.name}.txt.sig" not in files:
        yield f"checkpoint {checkpoint.n} is unsigned: the receiver has only your word for it"
    if not any(name.endswith(".tsr") for name in files):
        yield f"checkpoint {checkpoint.n} has no time stamp: imgkit log timestamp gets one"


def write_disclosure(disclosure: Disclosure, folder: str) -> list[str]:
    """Write a disclosure into a new folder; return the paths of its files.

    Raises:
        CustodyError: The folder is there already, or cannot be written; nothing is left then.
    """
    files = {
        LINES: b"".join(disclosure.lines.values()),
        PATHS: "".join(_path_line(number, disclosure.paths[number]) for number in disclosure.lines).encode(),
        **{os.path.join(CHECKPOINTS, name): data for name, data in disclosure.files.items()},
        **{name: _packaged(source) for name, source in PACKAGED.items()},
    }
    with told(f"write the disclosure {folder!r}", given=True):
        os.mkdir(folder)
        try:
            os.mkdir(os.path.join(folder, CHECKPOINTS))
            return [_write(os.path.join(folder, name), data) for name, data in files.items()]
        except BaseException:  # whatever it is, a signal too: raised again once nothing stays behind
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _path_line(number: int, path: Iterable[bytes]) -> str:
    return " ".join([str(number), *(node.hex() for node in path)]) + "\n"


def _write(path: str, data: bytes) -> str:
    fd = os.open(path, NEW_FILE, 0o755 if path.endswith(".sh") else 0o644)
    try:
        write_all(fd, (data,))
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_folder(os.path.dirname(path))
    return path


def _packaged(name: str) -> bytes:
    place = os.path.join(os.path.dirname(__file__), name)
    with told(f"read {place!r} of this installation"), open(place, "rb") as file:
        return file.read()


def lines_digest(disclosure: Disclosure) -> str:
    """SHA-256 of the lines as they are handed over."""
    return hashlib.sha256(b"".join(disclosure.lines.values())).hexdigest()
