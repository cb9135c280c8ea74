"""The files in checkpoints/, as they lie there: read once, none trusted, none of any length."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field

from imgkit.linux.files import open_regular

BODY, SIGNATURE, SUMS = ".txt", ".txt.sig", ".sums"
LIMITS = {BODY: 4096, SIGNATURE: 65_536, SUMS: 4096, ".tsr": 1 << 20}
_NAME = re.compile(r"([0-9]{6,15})(?:(\.txt|\.txt\.sig|\.sums)|\.sums(\.[A-Za-z0-9._-]{1,64})\.tsr)\Z")
_ASIDE = re.compile(r"\.([0-9]{6,15}\.[A-Za-z0-9._-]{3,80})\.[0-9a-f-]{36}\.tmp\Z")
_LEFTOVER = re.compile(r"\..*\.tmp\Z")  # a killed write of imgkit; never a file of a checkpoint


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one checkpoint.

    Attributes:
        n: Which.
        held: Bytes of body, signature and sums by the end of their names, as far as they are there and can be read.
        stamps: Replies of time stamp authorities, by the names of their files.
        unreadable: What is there and could not be read: name and why.
    """

    n: int
    held: dict[str, bytes] = field(default_factory=dict)
    stamps: dict[str, bytes] = field(default_factory=dict)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    @property
    def body(self) -> bytes | None:
        """What was signed."""
        return self.held.get(BODY)

    @property
    def signature(self) -> bytes | None:
        """The signature in its armour."""
        return self.held.get(SIGNATURE)


class CheckpointFolder:
    """checkpoints/ as it was when this was made.

    Files get their names after the record is durable: what is listed before the log is read must be named in it, and what
    a record names may come a moment later.

    Attributes:
        there: Files by the number of their checkpoint.
        stray: Names that no file of a checkpoint has.
    """

    def __init__(self, folder: str | None) -> None:
        """Args: `folder` is the case folder, or None where only the log is known."""
        self.folder = None if folder is None else os.path.join(folder, "checkpoints")
        self.there: dict[int, Files] = {}
        self.stray: list[str] = []
        self._second: dict[str, list[str]] | None = None
        for name in self._names():
            match = _NAME.match(name)
            if match is not None and f"{int(match[1]):06}" == match[1] and int(match[1]) > 0:
                self._take(name, match)
            elif not _LEFTOVER.match(name):
                self.stray.append(name)

    def _names(self) -> list[str]:
        if self.folder is None:
            return []
        try:
            return sorted(os.listdir(self.folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _take(self, name: str, match: re.Match[str]) -> None:
        n = int(match[1])
        files = self.there.setdefault(n, Files(n))
        try:
            data = self._read(name, LIMITS[match[2] or ".tsr"])
        except OSError as error:
            files.unreadable.append((name, error.strerror or "unreadable"))
            return
        if match[2]:
            files.held[match[2]] = data
        else:
            files.stamps[name] = data

    def _read(self, name: str, limit: int) -> bytes:
        assert self.folder is not None  # noqa: S101  (there are no names without a folder)
        with open_regular(os.path.join(self.folder, name)) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"it has more than {limit:,} bytes")
        return data

    def again(self, n: int, digests: dict[str, str]) -> Files:
        """Look once more for what a record names by digest: named since, or left unnamed by a crash.

        Args:
            n: The checkpoint.
            digests: SHA-256 by the end of the name.
        """
        files = self.there.get(n) or Files(n)
        for end, sha256 in digests.items():
            if (
                end not in files.held
                and (data := self._late(f"{n:06}{end}", LIMITS[end], sha256)) is not None
            ):
                files.held[end] = data
        return files

    def lies_aside(self, name: str, sha256: str) -> bool:
        """Whether a stamp whose record is durable was named since, or left unnamed by a crash; an append names it."""
        return self._late(name, LIMITS[".tsr"], sha256) is not None

    def _late(self, name: str, limit: int, sha256: str) -> bytes | None:
        """The bytes of a file that was not there when the folder was listed, as far as they have that digest."""
        for there in self._later().get(name, ()):
            with suppress(OSError):  # told when it was listed, or gone by now
                data = self._read(there, limit)
                if hashlib.sha256(data).hexdigest() == sha256:
                    return data
        return None

    def _later(self) -> dict[str, list[str]]:
        """A second listing, made once the log is read: what lies there by the names that it has, or is to have."""
        if self._second is None:
            self._second = {}
            for name in self._names():
                aside = _ASIDE.match(name)
                self._second.setdefault(aside[1] if aside is not None else name, []).append(name)
        return self._second


def sums_of(n: int, body: bytes, signature: bytes | None) -> bytes:
    """What the sums of a checkpoint must be: the lines of sha256sum for its body and its signature."""
    lines = [(BODY, body)] + ([(SIGNATURE, signature)] if signature is not None else [])
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {n:06}{end}\n" for end, data in lines).encode()
