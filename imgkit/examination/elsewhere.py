"""The evidence of a log as it lies at somebody else's: images are known there by size and digest, for their paths differ."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NoReturn

from imgkit.errors import ImageError, NotPermitted, UsageError
from imgkit.examination.evidence import open_evidence
from imgkit.hashing import hash_range
from imgkit.image import Extent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from imgkit.examination.examiner import User
    from imgkit.examination.ledger import Exhibit, Ledger
    from imgkit.hashing import Digest
    from imgkit.image import Image

FILES_LIMIT = 100_000
DEPTH_LIMIT = 32

Verdict = Literal["match", "mismatch", "not-found", "no-digest", "unreadable"]


@dataclass(frozen=True, slots=True)
class Found:
    """An image in the folder that has the size of an exhibit.

    Attributes:
        path: Its first file.
        digests: Of its media; empty where a byte cannot be read.
    """

    path: str
    digests: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class ExhibitElsewhere:
    """What was found of one exhibit.

    Attributes:
        exhibit: EX1 …
        size: Bytes of its media, or None where the log does not say.
        verdict: `match`; `mismatch`: there are images of this size, none with these digests and none of another exhibit;
            `not-found`: none of this size; `no-digest`: the log has no digest of this media; `unreadable`.
        recorded: The digests that the log has, with their lines.
        images: What was compared.
    """

    exhibit: str
    size: int | None
    verdict: Verdict
    recorded: tuple[tuple[Digest, int], ...]
    images: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class EvidenceCheck:
    """What a folder holds of the exhibits of a log.

    Attributes:
        folder: Where was looked.
        exhibits: In the order of the log.
        unreadable: Files that are no image that can be opened: path and why.
    """

    folder: str
    exhibits: tuple[ExhibitElsewhere, ...]
    unreadable: tuple[tuple[str, str], ...]

    @property
    def failed(self) -> bool:
        """Whether an exhibit is not what the log says."""
        return any(item.verdict == "mismatch" for item in self.exhibits)

    def __bool__(self) -> NoReturn:
        raise TypeError("ask an EvidenceCheck for .failed")


@dataclass(slots=True)
class _Wanted:
    """An exhibit that is looked for."""

    exhibit: Exhibit
    size: int | None
    recorded: tuple[tuple[Digest, int], ...]
    images: list[Found] = field(default_factory=list)
    matches: bool = False

    def verdict(self, claimed: set[str]) -> ExhibitElsewhere:
        """What became of it; an image that another exhibit is says nothing of this one."""
        images = tuple(item for item in self.images if self._fits(item) or item.path not in claimed)
        verdict: Verdict
        if not self.recorded or self.size is None:
            verdict, images = "no-digest", ()
        elif self.matches:
            verdict, images = "match", tuple(item for item in images if self._fits(item))
        elif not images:
            verdict = "not-found"
        else:
            verdict = "mismatch" if any(item.digests for item in images) else "unreadable"
        return ExhibitElsewhere(self.exhibit.name, self.size, verdict, self.recorded, images)

    def _fits(self, found: Found) -> bool:
        computed = {digest.algorithm: digest for digest in found.digests}
        return bool(found.digests) and all(
            computed.get(digest.algorithm) == digest for digest, _line in self.recorded
        )

    def take(self, found: Found) -> bool:
        """Hold an image of this size against it."""
        self.images.append(found)
        fits = self._fits(found)
        self.matches = self.matches or fits
        return fits


def check_evidence(
    ledger: Ledger, folder: str, user: User, *, notify: Callable[[str], object] = bool
) -> EvidenceCheck:
    """Hash the images in a folder that have the size of an exhibit, and compare; nothing is written.

    Args:
        ledger: What the log says of its exhibits.
        folder: Looked through with all below it; symbolic links are not followed.
        user: With whose rights images are opened where root is refused.
        notify: Called before each image that is hashed.

    Raises:
        UsageError: No folder, or too much in it.
    """
    wanted = [_wanted(exhibit) for exhibit in ledger.known()]
    sizes = {item.size for item in wanted if item.recorded}
    claimed, unreadable = set[str](), list[tuple[str, str]]()
    for image in _images(folder, user, unreadable):
        with image:
            if image.size not in sizes:
                continue
            candidates = [item for item in wanted if item.size == image.size and item.recorded]
            notify(f"hashing {image.path}")
            found = _hash(image, candidates)
        fitting = [item for item in candidates if item.take(found)]
        if fitting:
            claimed.add(found.path)
    return EvidenceCheck(folder, tuple(item.verdict(claimed) for item in wanted), tuple(unreadable))


def _wanted(exhibit: Exhibit) -> _Wanted:
    """Our own first digests of the media; where there is none, those that were stated."""
    size = exhibit.added.get("size")
    size = int(size) if isinstance(size, (int, str)) and str(size).isdecimal() else None
    whole = (None, Extent(0, size)) if size is not None else (None,)
    own = {
        item.digest.algorithm: (item.digest, item.line)
        for item in reversed(exhibit.own)
        if item.of == "media" and item.extent in whole
    }
    recorded = list(own.values()) or [(digest, line) for of, digest, line in exhibit.stated if of == "media"]
    return _Wanted(exhibit, size, tuple(recorded))


def _hash(image: Image, wanted: Iterable[_Wanted]) -> Found:
    algorithms = sorted({digest.algorithm for item in wanted for digest, _line in item.recorded})
    return Found(image.path, hash_range(image, 0, image.size, algorithms=algorithms).digests)


def _images(folder: str, user: User, unreadable: list[tuple[str, str]]) -> Iterator[Image]:
    """Every image below a folder, opened, each once however many files it has."""
    seen: set[str] = set()
    for path in _files(folder):
        if os.path.realpath(path) in seen:
            continue
        try:
            image, _identity = open_evidence(path, user)
        except (ImageError, NotPermitted) as error:
            unreadable.append((path, error.message))
            continue
        seen.update(os.path.realpath(segment.path) for segment in image.segments)
        yield image


def _files(folder: str) -> Sequence[str]:
    """Regular files below a folder, by name."""
    if not os.path.isdir(folder):
        raise UsageError(f"{folder!r} is no folder", hint="--evidence DIR is where the images lie")
    found: list[str] = []
    waiting = [(folder, 0)]
    while waiting:
        place, depth = waiting.pop()
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            raise UsageError(f"cannot look into {place!r}: {error.strerror}") from error
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, depth + 1))
            elif entry.is_file(follow_symlinks=False):
                found.append(entry.path)
        if len(found) > FILES_LIMIT or depth == DEPTH_LIMIT:
            raise UsageError(
                f"{folder!r} has over {FILES_LIMIT:,} files, or folders {DEPTH_LIMIT} deep",
                hint="name the one with the images",
            )
    return sorted(found)
