"""Digests that others wrote, found for one image: in files the user names, and in files beside the image."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from imgkit.errors import ReferenceFileError
from imgkit.references import coreutils, hashdeep, imager_report
from imgkit.references.matching import ImageNames, concerning
from imgkit.references.reference import Comparison, Kind, Reference, Source, Statement
from imgkit.references.sidecars import algorithm_in_name, algorithm_of, is_list, owner_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgkit.image import Image

__all__ = [
    "Comparison",
    "Reference",
    "References",
    "Source",
    "Unusable",
    "find_references",
    "read_reference_file",
    "read_statements",
]

_MOST_BYTES = 16 << 20
_MOST_LINES = 500_000
_MOST_SIDECARS = 10_000
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


@dataclass(frozen=True, slots=True)
class Unusable:
    """A file that should have stated a digest of the image, and from which none could be had.

    Attributes:
        path: Absolute path of the file.
        message: What is wrong with it, one sentence.
        hint: What to do next, or None.
    """

    path: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class References:
    """What was found for an image.

    Attributes:
        references: In the order of the files: those the user named, then those beside the image.
        notices: Sentences about files that were looked at and not used, and why.
        unusable: Files that the user named, or that are named after the image, which cannot be read or state nothing:
            what they were there for was not compared.
    """

    references: tuple[Reference, ...]
    notices: tuple[str, ...] = ()
    unusable: tuple[Unusable, ...] = ()


class _Sidecar(NamedTuple):
    path: str
    owner: str | None  # the file it is named after; None of a list of several


def find_references(image: Image, *, against: Sequence[str] = (), sidecars: bool = True) -> References:
    """Find every stated digest that concerns `image`.

    A file that cannot be used keeps no other from being used: it stands under `unusable`.

    Args:
        image: An open image; nothing of its media is read.
        against: Files that the user named.
        sidecars: Whether to look beside the image too.
    """
    search = _Search(ImageNames(image))
    for path in map(os.path.abspath, against):
        search.add_against(path)
    if sidecars and image.format != "block-device":
        for sidecar in _beside(search.names, image.path):
            search.add_sidecar(sidecar)
        for path in _reports_beside(search.names, image.path):
            search.add_report(path, named=False)
    return References(tuple(dict.fromkeys(search.found)), tuple(search.notices), tuple(search.unusable))


def read_reference_file(path: str) -> list[Reference]:
    """Read every digest that the file states, whatever it concerns: `media` where it says so, else of the named file.

    Raises:
        ReferenceFileError: It cannot be read, or states nothing.
    """
    absolute = os.path.abspath(path)
    return [
        _reference(
            line, "media" if (line.name or "").startswith("media:") else "container", "against", absolute
        )
        for line in read_statements(absolute)
    ]


def read_statements(path: str) -> list[Statement]:
    """Read every digest that the file states.

    Raises:
        ReferenceFileError: It cannot be read, is over 16 MiB or 500,000 lines, or states nothing that is understood.
    """
    lines = _lines(_decoded(_read(path)))
    if len(lines) > _MOST_LINES:
        raise ReferenceFileError(
            f"{path} has {len(lines)} lines, more than {_MOST_LINES}: no file of digests"
        )
    numbered = enumerate(lines, start=1)
    if lines and hashdeep.is_hashdeep(lines[0]):
        found = list(hashdeep.read(numbered))
    else:
        said = algorithm_in_name(os.path.basename(path))
        found = list(coreutils.read(numbered, lambda digits: algorithm_of(said, digits)))
    if not found:
        raise ReferenceFileError(
            f"{path} states no digest that is understood",
            hint="lines like `HEX  NAME`, `SHA256 (NAME) = HEX`, hashdeep's, or one digest alone are",
        )
    return found


def _in_report(path: str) -> list[Statement] | None:
    """What an imager's report states; None of a file that is none.

    Raises:
        ReferenceFileError: It cannot be read.
    """
    lines = _lines(_decoded(_read(path)))
    imager = imager_report.imager_of(lines)
    return None if imager is None else imager_report.read(lines, imager)


def _nameless(
    path: str, statements: list[Statement], names: ImageNames
) -> tuple[list[tuple[Statement, str]], str | None]:
    """A file that the user named and that names no file: it concerns the image unless it is another file's sidecar."""
    directory, base = os.path.split(path)
    owner = owner_of(base)
    of = None if owner is None else names.of_owner(owner)
    if of is None and owner is not None and os.path.lexists(os.path.join(directory, owner)):
        return [], f"is named after {owner}, which is not {names.base}: not used"
    algorithms = [statement.digest.algorithm for statement in statements]
    if len(set(algorithms)) != len(algorithms):
        return [], "states several digests of one algorithm and names no file: which is meant cannot be told"
    return [(statement, of or "media") for statement in statements], None


class _Search:
    """What the files of one search gave so far, each file looked at once."""

    def __init__(self, names: ImageNames) -> None:
        self.names = names
        self.found: list[Reference] = []
        self.notices: list[str] = []
        self.unusable: list[Unusable] = []
        self._seen: set[str] = set()

    def _statements(self, path: str, *, named: bool) -> list[Statement]:
        """What a file states; empty where it was read already, or cannot be used, which is noted.

        Args:
            path: Absolute.
            named: The user named it, or it is named after the image: then it should have stated something.
        """
        real = os.path.realpath(path)
        if real in self._seen:
            return []
        self._seen.add(real)
        try:
            return read_statements(path)
        except ReferenceFileError as error:
            if named:
                self.unusable.append(Unusable(path, error.message, error.hint))
            else:
                self.notices.append(error.message)
        return []

    def add_report(self, path: str, *, named: bool) -> bool:
        """A file that may be an imager's report, whose digests are of the media; False where it is none.

        Args:
            path: Absolute.
            named: The user named it: then it has to state something.
        """
        real = os.path.realpath(path)
        try:
            stated = None if real in self._seen else _in_report(path)
        except ReferenceFileError as error:
            self._seen.add(real)
            if named:
                self.unusable.append(Unusable(path, error.message, error.hint))
            else:  # perhaps nobody's report at all
                self.notices.append(error.message)
            return True
        if stated is None:
            return False
        self._seen.add(real)
        others = {item.name for item in stated if item.name and not self.names.is_reported(item.name)}
        if others and not self.names.is_report_name(os.path.basename(path)):
            self.notices.append(f"{path} is the report of {min(others)}, not of {self.names.base}: not used")
        elif stated:
            self.found += [_reference(item, "media", "report", path) for item in stated]
        elif named:
            self.unusable.append(Unusable(path, f"{path} is an imager's report and states no digest"))
        return True

    def add_against(self, path: str) -> None:
        """A file that the user named."""
        if self.add_report(path, named=True):
            return
        statements, names = self._statements(path, named=True), self.names
        if not statements:
            return
        chosen, notice = concerning(statements, names)
        owner = owner_of(os.path.basename(path))
        if not chosen and all(statement.name is None for statement in statements):
            chosen, notice = _nameless(path, statements, names)
        elif owner is not None and (of := names.of_owner(owner)) is not None:
            chosen += [(statement, of) for statement in statements if statement.name is None]
        self.found += [_reference(statement, of, "against", path) for statement, of in chosen]
        if notice is not None:
            self.notices.append(f"{path} {notice}")
        elif not chosen and not self._of_media_elsewhere(statements, path):
            self.notices.append(f"{path} states nothing about {names.base}: {_what_it_names(statements)}")

    def add_sidecar(self, sidecar: _Sidecar) -> None:
        """A file beside the image."""
        names, path = self.names, sidecar.path
        of_image = sidecar.owner is not None and names.of_owner(sidecar.owner) is not None
        statements = self._statements(path, named=of_image)
        if not statements:
            return
        chosen, notice = concerning(statements, names)
        bare = [statement for statement in statements if statement.name is None]
        of, why_not = _owner_says(sidecar, names) if bare else (None, None)
        if of is not None:
            chosen += [(statement, of) for statement in bare]
        self.found += [_reference(statement, of, "sidecar", path) for statement, of in chosen]
        self.notices += [f"{path} {text}" for text in (notice, why_not) if text is not None]
        if not chosen and notice is None and self._of_media_elsewhere(statements, path):
            return
        if not chosen and not bare and notice is None and sidecar.owner is not None:
            self.notices.append(f"{path} states nothing about {names.base}: {_what_it_names(statements)}")

    def _of_media_elsewhere(self, statements: list[Statement], path: str) -> bool:
        """Tell of `disk.dd` in a list beside `disk.E01`: perhaps its media, perhaps another disk's."""
        for statement in statements:
            if statement.name is not None and self.names.media_elsewhere(statement.name):
                self.notices.append(
                    f"{path} states a digest of {statement.name}, which may be the media of {self.names.base} as a raw file "
                    f"or another image: not used; --expect {statement.digest} would compare it with the media"
                )
                return True
        return False


def _owner_says(sidecar: _Sidecar, names: ImageNames) -> tuple[str | None, str | None]:
    """Return (what a bare digest of the sidecar is of, why it is not used)."""
    if sidecar.owner is None:
        return None, f"states a digest and names no file: not used; --against {sidecar.path} would"
    of = names.of_owner(sidecar.owner)
    if of is not None:
        return of, None
    others = _others_of_stem(sidecar, names)
    if others:
        return None, f"could be of {names.base} or of {others[0]}: not used; --against {sidecar.path} would"
    return "media", None


def _others_of_stem(sidecar: _Sidecar, names: ImageNames) -> list[str]:
    """Files that `disk.sha256` could be of as well: `disk.E01` beside `disk.dd`."""
    directory = os.path.dirname(sidecar.path)
    return sorted(
        name
        for name in os.listdir(directory)
        if os.path.splitext(name)[0] == sidecar.owner
        and name not in names.files
        and owner_of(name) is None
        and os.path.splitext(name)[1].lower() not in _TEXTS
    )


_TEXTS = {".txt", ".log", ".csv", ".info", ".xml", ".json", ".html", ".pdf", ".md", ".asc", ".sig", ".map"}


def _what_it_names(statements: list[Statement]) -> str:
    named = sorted({statement.name for statement in statements if statement.name is not None})
    if len(named) == 1:
        return f"it names {named[0]}"
    return f"it names {len(named)} other files" if named else "it names no file"


def _reference(statement: Statement, of: str, kind: Kind, path: str) -> Reference:
    return Reference(
        statement.digest, of, Source(kind=kind, path=path, line=statement.line), name=statement.name
    )


def _beside(names: ImageNames, path: str) -> list[_Sidecar]:
    """The files beside the image, and beside what a symlink leads to, whose names say that they may concern it."""
    found: list[_Sidecar] = []
    for directory in dict.fromkeys((os.path.dirname(path), os.path.dirname(os.path.realpath(path)))):
        found += sorted(_in_directory(directory, names), key=lambda sidecar: sidecar.path)
    return found[:_MOST_SIDECARS]


def _reports_beside(names: ImageNames, path: str) -> list[str]:
    """The files beside the image that are called as imagers call their reports; whether they are some, their content says."""
    found = []
    for directory in dict.fromkeys((os.path.dirname(path), os.path.dirname(os.path.realpath(path)))):
        try:
            entries = sorted(os.listdir(directory))
        except OSError:
            continue  # as in _in_directory
        for entry in entries:
            report = os.path.join(directory, entry)
            if names.is_report_name(entry) and entry not in names.files and os.path.isfile(report):
                found.append(report)
    return found[:_MOST_SIDECARS]


def _in_directory(directory: str, names: ImageNames) -> Iterator[_Sidecar]:
    try:
        entries = os.listdir(directory)
    except OSError:
        return  # the image was opened by name: a directory that may not be listed has no sidecars to show
    for entry in entries:
        owner = owner_of(entry)
        if owner is not None and (names.of_owner(owner) is not None or owner == names.stem):
            sidecar = _Sidecar(os.path.join(directory, entry), owner)
        elif is_list(entry):
            sidecar = _Sidecar(os.path.join(directory, entry), None)
        else:
            continue
        if entry not in names.files and os.path.isfile(sidecar.path):
            yield sidecar


def _read(path: str) -> bytes:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = _open(path, flags)
    except OSError as error:
        raise ReferenceFileError(f"cannot open {path} for the digests in it: {error.strerror}") from error
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise ReferenceFileError(f"cannot read digests from {path}: it is no regular file")
        if facts.st_size > _MOST_BYTES:
            raise ReferenceFileError(
                f"cannot read digests from {path}: it has {facts.st_size} bytes, more than {_MOST_BYTES}",
                hint="name a file that states digests, not an image",
            )
        with open(fd, "rb", closefd=False) as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise ReferenceFileError(f"cannot read {path} for the digests in it: {error.strerror}") from error
    finally:
        os.close(fd)


def _open(path: str, flags: int) -> int:
    """A file beside evidence is evidence: its access time stays, where we may leave it."""
    try:
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
        return os.open(path, flags)


def _decoded(raw: bytes) -> str:
    """As its byte order mark says, else UTF-8; bytes that are neither stay as os.fsdecode would have them."""
    for mark, encoding in _BOMS:
        if raw.startswith(mark):
            errors = "surrogateescape" if encoding == "utf-8" else "replace"
            return raw[len(mark) :].decode(encoding, errors)
    return raw.decode("utf-8", "surrogateescape")


def _lines(text: str) -> list[str]:
    """Split at newlines only: a name may hold any other character; `sha256sum -z` ends its lines with NUL."""
    lines = text.split("\0" if "\0" in text else "\n")
    return lines if lines[-1] else lines[:-1]
