"""Reference: a digest that somebody stated earlier, with where it was found and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from imgkit.hashing import Digest
    from imgkit.image import Extent

Kind = Literal["option", "against", "sidecar", "container", "report", "manifest", "custody"]
Origin = Literal["acquisition", "container", "own"]
Protection = Literal["loose", "log", "signed"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a stated digest was found.

    Attributes:
        kind: `sidecar` for a file beside the image, `against` for a file the user named, ...
        path: Absolute path of that file, or None (an option).
        line: Line number in it from 1, or None.
        origin: Who stated it: the acquisition, the container, or our own earlier records.
        protection: What keeps it from being replaced: nothing (loose), a custody log, a signature.
    """

    kind: Kind
    path: str | None = None
    line: int | None = None
    origin: Origin = "acquisition"
    protection: Protection = "loose"


@dataclass(frozen=True, slots=True)
class Reference:
    """A stated digest.

    Attributes:
        digest: What was stated.
        of: What it is a digest of: `media`, `container`, `partition:N`, or `segment:N` (from 0).
        source: Where it was found.
        name: The file name the statement was made for, as written there (unescaped), or None.
        extent: Which bytes of the media were hashed, where a log says so of a partition: the number may mean others now.
        sector_size: Of the table as it was read then, or None.
    """

    digest: Digest
    of: str
    source: Source
    name: str | None = None
    extent: Extent | None = None
    sector_size: int | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A reference held against what was computed. Ask `.matches`: its truth value raises, so `if comparison:` cannot lie."""

    reference: Reference
    actual: Digest

    @property
    def matches(self) -> bool:
        """Whether the two digests are equal."""
        return self.reference.digest == self.actual

    def __bool__(self) -> bool:
        msg = "ask comparison.matches"
        raise TypeError(msg)


@dataclass(frozen=True, slots=True)
class Statement:
    """A line of a file that states digests, before anybody asked which image it concerns.

    Attributes:
        digest: What is stated.
        name: The file it is stated for, unescaped, as written (perhaps a path, perhaps of another system); None where
            the line names none.
        line: Line number from 1.
    """

    digest: Digest
    name: str | None
    line: int
