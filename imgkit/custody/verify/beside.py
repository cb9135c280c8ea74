"""The enclosures beside the log, against the digests that its records state."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from imgkit.linux.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.custody.verify.finding import Findings
    from imgkit.custody.verify.lines import Line

_NAME = re.compile(r"([0-9a-f]{64})(?:\.[A-Za-z0-9._-]{1,32})?\Z")
_LEFTOVER = re.compile(r"\..*\.tmp\Z")  # a killed write of imgkit; never an enclosure
_OWN_DIGEST = frozenset({"note.added", "enclosure.added"})


class _Stated(NamedTuple):
    line: int
    name: str | None


class Enclosures:
    """Collects the digests that records state of enclosures, then looks at the files.

    A file gets its name after its record is durable. So what is listed before the log is read must be named in it; a
    file that comes later may belong to a line that came later, too.

    Attributes:
        unchanged: How many files have the digest that the record states.
    """

    def __init__(self, findings: Findings, folder: str | None) -> None:
        """Args: `folder` is the case folder, or None where only the log is known."""
        self._findings = findings
        self._folder = None if folder is None else os.path.join(folder, "enclosures")
        self._before = set(_names(self._folder))
        self._stated: dict[str, _Stated] = {}
        self.unchanged = 0

    def see(self, line: Line) -> None:
        """Take the next record."""
        record = line.record
        if record["type"] in _OWN_DIGEST:
            self._state(line.number, record["data"]["sha256"], record["data"].get("enclosure"))
        if b'"enclosure":' in line.raw:
            for named in _enclosing(record):
                self._state(line.number, named["sha256"], named["enclosure"])

    def _state(self, line: int, sha256: str, name: object) -> None:
        known = self._stated.get(sha256)
        if known is None or (known.name is None and isinstance(name, str)):
            self._stated[sha256] = _Stated(line, name if isinstance(name, str) else None)

    def finish(self) -> None:
        """Compare what the case folder holds with what was stated."""
        if self._folder is None:
            return
        present = set()
        for name in _names(self._folder):
            sha256 = self._stated_as(name)
            if sha256 is not None:
                present.add(sha256)
                self._compare(os.path.join(self._folder, name), sha256, self._stated[sha256].line)
            elif name in self._before and not _LEFTOVER.match(name):
                self._findings.add("EXTRA_FILE", None, f"no line of the log names enclosures/{shown(name)}")
        for sha256, stated in self._stated.items():
            if sha256 not in present:
                self._findings.add("ENCLOSURE_WITHHELD", stated.line, f"the enclosure {sha256} is not there")

    def _stated_as(self, name: str) -> str | None:
        """The digest under which a record names this file, or None."""
        match = _NAME.match(name)
        stated = self._stated.get(match[1]) if match else None
        if match is None or stated is None or stated.name not in {None, name}:
            return None
        return match[1]

    def _compare(self, path: str, sha256: str, line: int) -> None:
        try:
            actual = _digest(path)
        except OSError as error:
            why = error.strerror or "unreadable"
            self._findings.add("ENCLOSURE_WITHHELD", line, f"the enclosure {sha256} cannot be read: {why}")
            return
        if actual == sha256:
            self.unchanged += 1
        else:
            told = "is no regular file" if actual is None else f"now has the SHA-256 {actual}"
            self._findings.add("ENCLOSURE_CHANGED", line, f"the enclosure {sha256} {told}")


def shown(name: str) -> str:
    """A name for a sentence: ASCII, whatever bytes it has."""
    return ascii(name)[1:-1]


def _names(folder: str | None) -> list[str]:
    """The names in a folder, sorted; a folder that is not there has none."""
    if folder is None:
        return []
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _digest(path: str) -> str | None:
    """SHA-256 of a regular file, or None for anything else; a symbolic link or a FIFO is not followed or waited for."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return None
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _enclosing(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a record that stands for a file in enclosures/; depth is bounded by the format."""
    if isinstance(value, dict):
        if isinstance(value.get("sha256"), str) and isinstance(value.get("enclosure"), str):
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            if isinstance(item, (dict, list)):
                yield from _enclosing(item)
