"""Which statements concern which image: by file name, never by digest."""

from __future__ import annotations

import ntpath
import os
import posixpath
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from imgkit.image import Image
    from imgkit.references.reference import Statement

_MOST_NAMED = 5  # names in a notice
_REPORT_SUFFIXES = {".txt", ".info", ".log"}
_RAW_SUFFIXES = {".dd", ".raw", ".img", ".bin", ".001", ".000"}
_MEDIA = "media:"  # how `imgkit hash` names media that is not the file itself


class ImageNames:
    """The names under which a file of digests may speak of an image.

    Attributes:
        base: File name of the image, for messages.
        files: File name -> what a digest stated for it is a digest of: `media`, `container`, `segment:N`. Of several files
            of one name (an image and the one it builds upon) the image's own; of() tells them apart by their folders.
        is_container: The media is stored as something else than its own bytes.
        stem: What `disk.sha256` would be named after, with what its bare digest is of; None where that is open.
    """

    def __init__(self, image: Image) -> None:
        self._folder, self.base = os.path.split(image.path)
        self.files: dict[str, str] = {}
        self._paths: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        whole = image.format in {"raw", "block-device"}
        self.is_container = not whole and image.format != "split-raw"
        paths = [segment.path for segment in image.segments] or [image.path]
        for index, path in enumerate(paths):
            alone = "media" if whole else "container"
            self._add(path, alone if len(paths) == 1 else f"segment:{index}")
        if whole:
            self._add(image.path, "media")
        self._by_case = {name.casefold(): of for name, of in self.files.items()}
        self.stem = self._free_stem(image)
        self._joined = self.stem if image.format == "split-raw" else None

    def _free_stem(self, image: Image) -> str | None:
        """`disk` of `disk.dd`, unless a file of that name is there, of which such a sidecar is."""
        stem = os.path.splitext(self.base)[0]
        if stem == self.base or image.format not in {"raw", "split-raw"}:
            return None
        return None if os.path.lexists(os.path.join(os.path.dirname(image.path), stem)) else stem

    def _add(self, path: str, of: str) -> None:
        for spelling in (path, os.path.realpath(path)):
            base = os.path.basename(spelling)
            self.files.setdefault(base, of)
            self._paths.setdefault(base, []).append((tuple(spelling.split("/")), of))

    def of(self, name: str) -> str | None:
        """Return what a digest stated for `name` (a path of any system) is a digest of, or None: of another file."""
        if name.startswith(_MEDIA) and any(base in self.files for base in _bases(name[len(_MEDIA) :])):
            return "media"
        for base in _bases(name):
            if base in self.files:
                return self._likeliest(base, name)
            if base == self._joined:
                return "media"
        return None

    def is_report_name(self, file_name: str) -> bool:
        """Whether imagers call their report of this image so: `disk.E01.txt`, `disk.info`, `disk.txt`, `disk.log`."""
        owner, suffix = os.path.splitext(file_name)
        if suffix.lower() not in _REPORT_SUFFIXES:
            return False
        return (
            owner.casefold() in self._by_case or owner.casefold() == os.path.splitext(self.base)[0].casefold()
        )

    def is_reported(self, name: str) -> bool:
        """Whether a report that names this file is of this image: one of its files, or `disk.Exx`, `disk` without a suffix."""
        stem = os.path.splitext(self.base)[0].casefold()
        for base in _bases(name):
            if base.casefold() in self._by_case or os.path.splitext(base)[0].casefold() == stem:
                return True
            if base.casefold() == stem:
                return True
        return False

    def of_other_case(self, name: str) -> str | None:
        """The same as of() where only upper and lower case differ, and no other file lies there under that very name."""
        base = _bases(name.removeprefix(_MEDIA))
        found = {self._by_case[item.casefold()] for item in base if item.casefold() in self._by_case}
        if len(found) != 1 or any(os.path.lexists(os.path.join(self._folder, item)) for item in base):
            return None
        return "media" if name.startswith(_MEDIA) else found.pop()

    def of_owner(self, owner: str) -> str | None:
        """The same for the name that a sidecar is named after; case does not count."""
        return self._by_case.get(owner.casefold())

    def likeness(self, name: str) -> int:
        """How many components at the end of `name` are those of the image's path."""
        split = _components(name.removeprefix(_MEDIA))
        return max((_alike(split, path) for path, _ in self._paths.get(split[-1], ())), default=0)

    def _likeliest(self, base: str, name: str) -> str:
        """Of several files of one name the one whose path is most like `name`, the image's own first."""
        split = _components(name)
        return max(self._paths[base], key=lambda item: _alike(split, item[0]))[1]

    def media_elsewhere(self, name: str) -> bool:
        """Whether `name` is what the media of this container would be called as a raw file, and none lies there."""
        if not self.is_container:
            return False
        stem = os.path.splitext(self.base)[0].casefold()
        return any(
            os.path.splitext(base)[0].casefold() == stem
            and os.path.splitext(base)[1].casefold() in _RAW_SUFFIXES
            and not os.path.lexists(os.path.join(self._folder, base))
            for base in _bases(name)
        )


def _components(path: str) -> tuple[str, ...]:
    return tuple(path.split("/") if "/" in path else path.replace("\\", "/").split("/"))


def _bases(name: str) -> Collection[str]:
    """The file name at the end of a path, as POSIX and as Windows read it, and composed as Linux tools write it."""
    posix, windows = posixpath.basename(name), ntpath.basename(name)
    return dict.fromkeys(
        (posix, windows, unicodedata.normalize("NFC", posix), unicodedata.normalize("NFD", posix))
    )


def _alike(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    count = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if left != right:
            break
        count += 1
    return count


def concerning(
    statements: Sequence[Statement], names: ImageNames
) -> tuple[list[tuple[Statement, str]], str | None]:
    """Return the statements that name this image with what each is of, and a notice where they are ambiguous.

    Of `a/disk.dd` and `b/disk.dd` the one counts whose path is most like the image's; where both are as likely and they
    differ, neither does. Where none names it but in other case (`I.DD` for `i.dd`: Windows does not tell them apart), and one
    name only does, that one is taken.
    """
    named = [
        (statement, of)
        for statement in statements
        if statement.name is not None and (of := names.of(statement.name)) is not None
    ]
    if not named:
        return _in_other_case(statements, names)
    scores = [names.likeness(statement.name or "") for statement, _ in named]
    best: dict[tuple[str, str], int] = {}
    for (statement, of), score in zip(named, scores, strict=True):
        key = (of, statement.digest.algorithm)
        best[key] = max(best.get(key, 0), score)
    chosen = [
        (statement, of)
        for (statement, of), score in zip(named, scores, strict=True)
        if score == best[of, statement.digest.algorithm]
    ]
    disputed = _disputed(chosen)
    if not disputed:
        return chosen, None
    kept = [(statement, of) for statement, of in chosen if (of, statement.digest.algorithm) not in disputed]
    return (
        kept,
        f"states different digests for several files called {names.base}: which is meant cannot be told",
    )


def _in_other_case(
    statements: Sequence[Statement], names: ImageNames
) -> tuple[list[tuple[Statement, str]], str | None]:
    """As concerning, by names that differ from the image's in upper and lower case only."""
    alike = [
        (statement, of)
        for statement in statements
        if statement.name is not None and (of := names.of_other_case(statement.name)) is not None
    ]
    spelled: dict[str, set[str]] = {}
    for statement, of in alike:
        spelled.setdefault(of, set()).add(statement.name or "")
    if any(len(different) > 1 for different in spelled.values()):
        listed = ", ".join(sorted(name for different in spelled.values() for name in different)[:_MOST_NAMED])
        return [], f"has several names that differ from {names.base} in upper and lower case only: {listed}"
    if not alike:
        return [], None
    listed = ", ".join(sorted(name for different in spelled.values() for name in different)[:_MOST_NAMED])
    return alike, f"names {listed}, taken for {names.base}: only upper and lower case differ"


def _disputed(chosen: list[tuple[Statement, str]]) -> set[tuple[str, str]]:
    """The (of, algorithm) for which different paths state different digests; one path twice is no dispute but a mismatch."""
    seen: dict[tuple[str, str], dict[str, str]] = {}
    for statement, of in chosen:
        seen.setdefault((of, statement.digest.algorithm), {})[statement.name or ""] = statement.digest.value
    return {key for key, by_name in seen.items() if len(set(by_name.values())) > 1}
