"""Which files are an E01 set: segments numbered by their three-character suffix.

https://github.com/libyal/libewf/blob/main/documentation/Expert%20Witness%20Compression%20Format%20(EWF).asciidoc, "Segment files"

`.E01` to `.E99`, `.EAA` to `.EZZ`, then `.FAA` on to `.ZZZ`; SMART counts `.s01` to `.s99`, `.saa` and on to `.zzz`. Letters end
other names too (`.log`, `.txt`): what the content says of the number of segments decides in the end, not this file.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from imgkit.containers.link_names import sets_along
from imgkit.errors import ImageError, MissingSegment, NotPermitted

_SUFFIX = re.compile(r"[A-Za-z](?:[0-9]{2}|[A-Za-z]{2})", re.ASCII)
_NUMBERED = 99  # segments with two digits
_LETTERS = 26
_NEAR = (
    _LETTERS  # letters: a name this far behind the last segment shows a hole, one further off may be any file
)
_BASES = "ES"  # the first letter of the first segment: EnCase, SMART

_Found = dict[int, list[tuple[str, str]]]  # segment number -> (stem, suffix) of each name that says so


@dataclass(frozen=True, slots=True)
class SegmentPaths:
    """The files of a set, absolute, in order, and what the user should know about how they were found."""

    paths: tuple[str, ...]
    notices: tuple[str, ...] = ()


def segment_paths(path: str) -> SegmentPaths:
    """Find the set that the file `path` (absolute, any segment) is of, by the names beside it.

    A symlink counts as the name it has, and where that is no segment's as the names it leads to.

    Raises:
        MissingSegment: The first is not there, or one before a segment that is.
        NotPermitted: The directory cannot be listed, so nobody can tell.
        ImageError: The kernel could not list it.
    """
    return sets_along(path, _find_beside)[0]


def segment_suffix(number: int, first: str = "E01") -> str | None:
    """The suffix of segment `number` (from 1) of a set that begins with `first`, in its case; None past the last."""
    base, upper = first[0].upper(), first[0].isupper()
    if number <= _NUMBERED:
        text = f"{base}{number:02d}"
    else:
        letter, rest = divmod(number - _NUMBERED - 1, _LETTERS * _LETTERS)
        if ord(base) + letter > ord("Z"):
            return None
        places = (ord(base) + letter, *(ord("A") + place for place in divmod(rest, _LETTERS)))
        text = "".join(map(chr, places))
    return text if upper else text.lower()


def _number(suffix: str, base: str) -> int | None:
    """The segment that `suffix` says in a set whose first suffix begins with `base`; None where it says none."""
    text = suffix.upper()
    if text[1].isdigit():
        return int(text[1:]) or None if text[0] == base else None
    if text[0] < base:
        return None
    places = [ord(character) - ord("A") for character in text[1:]]
    high = (ord(text[0]) - ord(base)) * _LETTERS * _LETTERS
    return _NUMBERED + 1 + high + places[0] * _LETTERS + places[1]


def _find_beside(path: str) -> SegmentPaths:
    directory, name = os.path.split(path)
    stem, dot, suffix = name.rpartition(".")
    bases = [base for base in _BASES if dot and _SUFFIX.fullmatch(suffix) and _number(suffix, base)]
    if not bases:
        return SegmentPaths((path,))
    names = _names_like(directory, stem)
    sets = {base: _by_number(names, base) for base in bases}
    # `.TAA` may count on from `.s01` or from `.E01`: the first segment that is there tells.
    base = next((base for base in bases if 1 in sets[base]), bases[0])
    opened = _number(suffix, base)
    if opened is None or (1 not in sets[base] and not _is_surely_numbered(suffix, opened, base, sets[base])):
        return SegmentPaths((path,), _lone_notice(path))
    return _Set(directory, stem, suffix, base, sets[base]).count(opened)


def _lone_notice(path: str) -> tuple[str, ...]:
    return (f"the name of {path} could be that of a later segment, and no other segment is beside it",)


def _is_surely_numbered(suffix: str, number: int, base: str, found: _Found) -> bool:
    """Whether a file is a later segment although the first is absent: `.E07` and `.EAB`, but not a lone `.IMG`."""
    return suffix[1].isdigit() or suffix[0].upper() == base or number - 1 in found


def _names_like(directory: str, stem: str) -> list[tuple[str, str]]:
    """(stem, suffix) of each name with our stem, in any case, and a suffix that a segment may have; one listing."""
    wanted = stem.casefold()
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                entry_stem, _, suffix = entry.name.rpartition(".")
                if len(suffix) == 3 and entry_stem.casefold() == wanted and _SUFFIX.fullmatch(suffix):
                    found.append((entry_stem, suffix))
    except PermissionError as error:
        raise NotPermitted(
            f"cannot list {directory} to find the segments beside {stem}: {error.strerror}",
            hint="a set is read whole or not at all: read permission is needed on its folder",
        ) from error
    except OSError as error:
        raise ImageError(
            f"cannot list {directory} to find the segments beside {stem}: {error.strerror}"
        ) from error
    return found


def _by_number(names: list[tuple[str, str]], base: str) -> _Found:
    found: _Found = {}
    for stem, suffix in names:
        number = _number(suffix, base)
        if number is not None:
            found.setdefault(number, []).append((stem, suffix))
    return found


@dataclass(frozen=True, slots=True)
class _Set:
    """The names beside the file that was opened, by the number they say."""

    directory: str
    stem: str
    suffix: str
    base: str
    found: _Found

    def count(self, opened: int) -> SegmentPaths:
        """Count up from the first segment; `opened` has to be among them."""
        chosen: list[tuple[str, str]] = []
        notices: list[str] = []
        while (number := len(chosen) + 1) in self.found:
            names = sorted(self.found[number], key=self._unlike)
            chosen.append((self.stem, self.suffix) if number == opened else names[0])
            if len(names) > 1:
                notices.append(self._chosen_notice(chosen[-1], names))
        self._refuse_hole(len(chosen) + 1, opened)
        if len({(stem, suffix.isupper()) for stem, suffix in chosen}) > 1:
            notices.append(f"the segments of {self._path(*chosen[0])} have names that differ in case")
        return SegmentPaths(tuple(self._path(*name) for name in chosen), tuple(notices))

    def _unlike(self, name: tuple[str, str]) -> tuple[bool, bool, bool, tuple[str, str]]:
        """Sorts first what is written as the path that was opened is."""
        stem, suffix = name
        return (
            stem != self.stem,
            suffix[0].isupper() != self.suffix[0].isupper(),
            suffix.isupper() != self.suffix.isupper(),
            name,
        )

    def _chosen_notice(self, chosen: tuple[str, str], names: list[tuple[str, str]]) -> str:
        others = ", ".join(".".join(name) for name in names if name != chosen)
        return f"{self._path(*chosen)} is taken as a segment, not {others}, whose name differs in case only"

    def _refuse_hole(self, missing: int, opened: int) -> None:
        """What is numbered like the set and not reached by counting shows that a segment is not there."""
        beyond = [number for number in self.found if number > missing and self._is_stray(number, missing)]
        if opened >= missing:
            beyond.append(opened)
        if not beyond:
            return
        seen = min(beyond)
        name = (self.stem, self.suffix) if seen == opened else min(self.found[seen], key=self._unlike)
        suffix = segment_suffix(missing, self.base if self.suffix[0].isupper() else self.base.lower())
        raise MissingSegment(
            f"segment {self._path(self.stem, suffix or '?')} is not there, though {'.'.join(name)} is",
            hint="put all segments into one directory; a set is read whole or not at all",
        )

    def _is_stray(self, number: int, missing: int) -> bool:
        """Digits number nothing else; letters do (`.ext`), unless they follow soon."""
        return number <= _NUMBERED or number - missing <= _NEAR

    def _path(self, stem: str, suffix: str) -> str:
        return os.path.join(self.directory, f"{stem}.{suffix}")
