"""Which files are a split raw set: names numbered at their ends.

Numberings read: digits (`.001`, `.000`, `.0001`, `.00`, past `.999` on to `.1000`) and letters (`.aa`, `.aaa`, `.AA`), and both
as coreutils' split widens them when it runs out (`.yz`, `.zaaa`; `.89`, `.9000`). The numbering starts at its first place or,
with digits, at one, and has no hole; that the last ones are gone cannot be seen here.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from imgkit.containers.link_names import sets_along
from imgkit.errors import MissingSegment, NotPermitted

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBERED = re.compile(r"[0-9]{2,9}|[a-z]{2,9}|[A-Z]{2,9}")
_NEAR = 26  # letters: a stray this far behind the last segment still belongs to the set (`.dd`, `.log` are no segments)


class SplitSet(NamedTuple):
    """The files of a set, absolute, in order of the media, and what the user should know about how they were found."""

    paths: tuple[str, ...]
    notices: tuple[str, ...] = ()


def find_split_set(path: str) -> SplitSet:
    """Find the set that the file `path` (absolute) is a segment of; one path where it is none.

    A symlink counts as the name it has, and where that is no segment as the names it leads to.

    Raises:
        MissingSegment: Its name says it is of a set, and a file of that set is not there.
        NotPermitted: The directory cannot be listed, so nobody can tell.
    """
    return sets_along(path, _find_beside)[-1]


def _find_beside(path: str) -> SplitSet:
    directory, name = os.path.split(path)
    stem, dot, suffix = name.rpartition(".")
    if not dot or not _NUMBERED.fullmatch(suffix) or not _may_be_numbered(directory, stem, suffix):
        return SplitSet((path,))
    present, other_case = _siblings(directory, stem, suffix)
    chain = _chain_with(suffix, present)

    def named(text: str) -> str:
        return os.path.join(directory, f"{stem}.{text}")

    if chain is None:
        missing = _missing_before(suffix, present)
        if missing is not None:
            raise _missing(named(missing), path)
        return SplitSet((path,), _lone_notice(path) if suffix.isdigit() else ())
    _refuse_strays(chain, present, other_case, named)
    notices = _lone_notice(path) if len(chain) == 1 else ()
    return SplitSet(tuple(named(text) for text in chain), notices)


def _lone_notice(path: str) -> tuple[str, ...]:
    return (
        f"the name of {path} ends like that of a segment, and no other segment is beside it: read as a whole image",
    )


def _may_be_numbered(directory: str, stem: str, suffix: str) -> bool:
    """Letters end most names (`.dd`, `.img`): they number a set only where its first file is, or where it looks like one."""
    if suffix.isdigit() or _looks_early(suffix):
        return True
    first = _first_of(suffix)
    return any(
        os.path.lexists(os.path.join(directory, f"{stem}.{first * width}"))
        for width in range(2, len(suffix) + 1)
    )


def _siblings(directory: str, stem: str, suffix: str) -> tuple[dict[str, int], dict[str, str]]:
    """Return {suffix: bytes} of the names with our stem and kind of suffix, and {suffix: name} of those in another case."""
    present: dict[str, int] = {}
    other_case: dict[str, str] = {}
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                entry_stem, _, text = entry.name.rpartition(".")
                if not _NUMBERED.fullmatch(text) or entry_stem.casefold() != stem.casefold():
                    continue
                if entry_stem == stem and _first_of(text) == _first_of(suffix):
                    present[text] = _size(entry)
                elif _first_of(text).casefold() == _first_of(suffix).casefold():
                    other_case[text.upper() if suffix.isupper() else text.lower()] = entry.name
    except PermissionError as error:
        raise NotPermitted(
            f"cannot list {directory} to find the segments beside {stem}.{suffix}: {error.strerror}"
        ) from error
    return present, other_case


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:
        return -1  # a dangling symlink: opening it will say so by name


def _refuse_strays(
    chain: list[str], present: dict[str, int], other_case: dict[str, str], named: Callable[[str], str]
) -> None:
    """What is numbered like the set and not reached by counting shows a hole, or a set of another numbering."""
    expected = _successors(chain[-1])[0]
    if expected in other_case:
        raise MissingSegment(
            f"segment {named(expected)} is not there, but {other_case[expected]} is: the names differ in case",
            hint="rename copies of the segments alike, if they are of one set",
        )
    rest = present.keys() - set(chain)
    strays = [text for text in rest if _is_stray(text, chain, present)]
    if strays:
        first = min(strays, key=lambda text: (len(text), text))
        raise _missing(named(expected), named(first))


def _is_stray(text: str, chain: list[str], present: dict[str, int]) -> bool:
    if len(text) in {len(member) for member in chain}:
        if text.isdigit() or present[text] == present[chain[0]]:
            return True
        return _number(text) - _number(chain[-1]) <= _NEAR and len(text) == len(chain[-1])
    if _widens_to(chain[-1], text):
        return True
    # Another width: a set of its own where its first file is there; letters of another width are words (`.img`).
    return text.isdigit() and not any(start in present for start in _starts(len(text), text))


def _missing(missing: str, seen: str) -> MissingSegment:
    return MissingSegment(
        f"segment {missing} is not there, though {os.path.basename(seen)} is",
        hint="put all segments into one directory; a set is read whole or not at all",
    )


def _chain_with(suffix: str, present: dict[str, int]) -> list[str] | None:
    """Count up from the first file of a set, of our width or a smaller one; the suffixes found, if ours is among them."""
    for width in range(len(suffix), 1, -1):
        chain = _count_from_start(suffix[:width], present)
        if suffix in chain:
            return chain
    return None


def _count_from_start(like: str, present: dict[str, int]) -> list[str]:
    """Count up from the first file of the width of `like`; empty where there is none."""
    start = next((text for text in _starts(len(like), like) if text in present), None)
    return [] if start is None else _count_from(start, present)


def _count_from(start: str, present: dict[str, int]) -> list[str]:
    chain = [start]
    while True:
        following = next((text for text in _successors(chain[-1]) if text in present), None)
        if following is None:
            return chain
        chain.append(following)


def _missing_before(suffix: str, present: dict[str, int]) -> str | None:
    """The first suffix that is missing before one that counting does not reach; None if it is `backup.2024` or `disk.dd`."""
    for width in range(len(suffix), 1, -1):
        counted = _count_from_start(suffix[:width], present)
        if counted and (width == len(suffix) or _widens_to(counted[-1], suffix)):
            following = _successors(counted[-1])
            missing = next((text for text in following if len(text) == len(suffix)), following[0])
            return missing if suffix.isdigit() or _is_stray(suffix, counted, present) else None
    return _starts(len(suffix), suffix)[-1] if _is_numbered(suffix, present) else None


def _is_numbered(suffix: str, present: dict[str, int]) -> bool:
    """Whether a file is surely a segment although none is there that a set could begin with."""
    if not suffix.isdigit():
        return _looks_early(suffix)
    alike = [text for text in present if len(text) == len(suffix)]
    return any(_looks_early(text) for text in alike) or (len(suffix) == 3 and len(alike) > 1)


def _widens_to(last: str, suffix: str) -> bool:
    """Whether counting on from `last` leads to suffixes like this wider one."""
    wider = (text for text in _successors(last) if len(text) == len(suffix) > len(last))
    return any(suffix.isdigit() or text[0] == suffix[0] for text in wider)


def _looks_early(suffix: str) -> bool:
    """`.002`, `.ab`: all but the last place are still at the first character, or a digit is 0."""
    return (
        suffix.startswith("0") if suffix.isdigit() else suffix[:-1] == _first_of(suffix) * (len(suffix) - 1)
    )


def _starts(width: int, like: str) -> tuple[str, ...]:
    """The suffixes a set of this width may begin with: 000 or 001, aaa."""
    return ("0" * width, "1".rjust(width, "0")) if like.isdigit() else (_first_of(like) * width,)


def _first_of(suffix: str) -> str:
    if suffix.isdigit():
        return "0"
    return "a" if suffix.islower() else "A"


def _alphabet(suffix: str) -> str:
    first = ord(_first_of(suffix))
    return "".join(map(chr, range(first, first + (10 if suffix.isdigit() else 26))))


def _number(suffix: str) -> int:
    places = _alphabet(suffix)
    value = 0
    for character in suffix:
        value = value * len(places) + places.index(character)
    return value


def _successors(suffix: str) -> list[str]:
    """What may follow: one more at the same width; past the last, one place more; or what coreutils' split widens to."""
    places = _alphabet(suffix)
    first, last = places[0], places[-1]
    body = suffix.rstrip(last)
    if body:
        following = [body[:-1] + places[places.index(body[-1]) + 1] + first * (len(suffix) - len(body))]
    else:
        following = [places[1] + first * len(suffix)] if suffix.isdigit() else [first * (len(suffix) + 1)]
    used = len(suffix) - len(suffix.lstrip(last))
    rest = suffix[used:]
    if len(rest) == 2 + used and rest == places[-2] + last * (len(rest) - 1):
        following.append(last * (used + 1) + first * (len(rest) + 1))
    return following
