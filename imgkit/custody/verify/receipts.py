"""Receipts: what somebody else wrote down of the log, against what it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from imgkit.custody.checkpoint import RECEIPT_MAGIC, Receipt
from imgkit.custody.durable import told
from imgkit.custody.verify.finding import lines_from
from imgkit.custody.verify.outside import lies_in
from imgkit.errors import CustodyError
from imgkit.linux.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from imgkit.custody.verify.finding import Findings
    from imgkit.custody.verify.prefix import Prefix

_WORDS = 6  # of a receipt
_LIMIT = 1 << 20  # bytes of a mail that has one in it
_FILES_LIMIT = 10_000


class Held(NamedTuple):
    """A receipt that somebody else holds, and with which the log agrees."""

    size: int


class Receipts:
    """Compares receipts; those that lie in the folder itself are compared too, and prove nothing."""

    def __init__(self, findings: Findings, given: Iterable[Receipt | str], folder: str | None) -> None:
        """Args: `given` are receipts, their texts, or files with them; `folder` is the case folder, or None.

        Raises:
            CustodyError: What was given is none.
        """
        self._findings = findings
        brought, inside = list[Receipt](), list(_inside(folder))
        for one in given:
            place = inside if isinstance(one, str) and not _is_text(one) and lies_in(folder, one) else brought
            place += receipts_of(one)
        self._given, self._inside = tuple(brought), tuple(dict.fromkeys(inside))
        self.good: list[Held] = []

    def sizes(self) -> Iterator[int]:
        """What the log must be known at."""
        return (receipt.size for receipt in (*self._given, *self._inside))

    @property
    def inside(self) -> int:
        """How many lie in the folder."""
        return len(self._inside)

    def finish(self, at: Callable[[int], Prefix | None], log: str | None, lines: int) -> None:
        """Tell what was found."""
        for receipt in self._given:
            if receipt.log != log:
                self._findings.add("FORKED", None, f"the receipt is of log {receipt.log}, this is {log}")
            elif self._agrees(receipt, at, lines, "the receipt"):
                self.good.append(Held(receipt.size))
        for receipt in self._inside:
            if receipt.log == log:
                self._agrees(receipt, at, lines, "a receipt in the case folder")
        if not self._given:
            inside = f"; {len(self._inside):,} in the case folder prove nothing" if self._inside else ""
            self._findings.add("NO_RECEIPT", None, f"no receipt held by somebody else was compared{inside}")

    def _agrees(self, receipt: Receipt, at: Callable[[int], Prefix | None], lines: int, whose: str) -> bool:
        size = receipt.size
        if size > lines:
            self._findings.add("TRUNCATED", None, f"{whose} is for {size:,} lines, the log has {lines:,}")
            return False
        found = at(size)
        if found is not None and (receipt.bytes, receipt.head, receipt.file) == found[1:4]:
            return True
        self._findings.add("FORKED", size or None, f"{whose} says otherwise of {lines_from(1, size)}")
        return False


def receipts_of(given: Receipt | str) -> Sequence[Receipt]:
    """Return what was given as receipts: one itself, its text, or a file that holds some.

    Raises:
        CustodyError: It is none, or the file cannot be read.
    """
    if isinstance(given, Receipt):
        return (given,)
    if _is_text(given):
        return (Receipt.parse(given),)
    with told(f"read the receipt {given!r}", given=True):
        text = _text(given)
    found = tuple(_in(text))
    if not found:
        raise CustodyError(f"there is no receipt in {given!r}", hint=f"a receipt begins with {RECEIPT_MAGIC}")
    return found


def _is_text(given: str) -> bool:
    return given.lower().split()[:1] == [RECEIPT_MAGIC]


def _in(text: str) -> Iterator[Receipt]:
    """Every receipt in a text: a mail has more in it.

    Raises:
        CustodyError: One that begins as a receipt is none.
    """
    words = text.split()
    for index, word in enumerate(words):
        if word.lower() == RECEIPT_MAGIC:
            yield Receipt.parse(" ".join(words[index : index + _WORDS]))


def _text(path: str) -> str:
    with open_regular(path, follow=True) as file:
        return file.read(_LIMIT).decode("utf-8", "replace")


def _inside(folder: str | None) -> Iterator[Receipt]:
    """The receipts in a case folder, as far as there are any to be read."""
    if folder is None:
        return
    place = os.path.join(folder, "receipts")
    try:
        names = sorted(os.listdir(place))[:_FILES_LIMIT]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        try:
            yield from _in(_text(os.path.join(place, name)))
        except (CustodyError, OSError):
            continue  # what is in there is for people to read, and no proof either way
