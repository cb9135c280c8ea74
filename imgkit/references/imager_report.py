"""Reports that imagers write beside what they acquire: the digests in them are of the media, never of a container's file.

FTK Imager (`disk.E01.txt`), Guymager (`disk.info`), ewfacquire (`-l FILE`): each states its digests on labelled lines.
A further imager is a row.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from imgkit.errors import UsageError
from imgkit.hashing import Digest, algorithm_name
from imgkit.references.reference import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD = 20  # lines in which a report says whose it is
_LONGEST = 4096  # characters of a line
_HEX = r"(?P<hex>[0-9A-Fa-f]{32,128})"
_ALGORITHM = r"(?P<algorithm>MD5|SHA-?1|SHA-?256)"


class Imager(NamedTuple):
    """A row: how its reports are known, and what their lines look like.

    Attributes:
        name: As people call it.
        mark: Stands in one of the first lines.
        digest: A line that states a digest, with the groups `algorithm` and `hex`.
        image: A line that names a file of the image, with the group `name`.
    """

    name: str
    mark: re.Pattern[str]
    digest: re.Pattern[str]
    image: re.Pattern[str]


IMAGERS = (
    Imager(
        "FTK Imager",
        re.compile(r"Created By (?:AccessData|Exterro).{0,3} ?FTK.{0,3} ?Imager"),
        re.compile(rf"\s*{_ALGORITHM} checksum:\s*{_HEX}(?:\s*:\s*\w+)?\s*"),
        re.compile(r"\s+(?P<name>(?:[A-Za-z]:)?[\\/].*\.(?:[ESes]\d\d|[ES][A-Z]{2}|\d{3}|dd|raw|img))\s*"),
    ),
    Imager(
        "Guymager",
        re.compile(r"GUYMAGER ACQUISITION INFO FILE"),
        re.compile(rf"\s*{_ALGORITHM} hash(?: verified (?:source|image))?\s*:\s*{_HEX}\s*"),
        re.compile(r"\s*Image path and file name\s*:\s*(?P<name>\S(?:.*\S)?)\s*"),
    ),
    Imager(
        "ewfacquire",  # its log, and ewfverify's, is these lines and nothing else
        re.compile(rf"^{_ALGORITHM} hash (?:calculated over data|stored in file):"),
        re.compile(rf"{_ALGORITHM} hash (?:calculated over data|stored in file):\s*{_HEX}\s*"),
        re.compile(r"Image path and filename:\s*(?P<name>\S(?:.*\S)?)\s*"),
    ),
)


def imager_of(lines: Sequence[str]) -> Imager | None:
    """Whose report a file of these lines is, or None: no report."""
    head = lines[:_HEAD]
    return next((row for row in IMAGERS if any(row.mark.search(text[:_LONGEST]) for text in head)), None)


def read(lines: Sequence[str], imager: Imager) -> list[Statement]:
    """What a report states; each statement names the first file of the image that the report names, if any."""
    names = [found["name"] for text in lines if (found := _match(imager.image, text))]
    name = names[0] if names else None
    statements = []
    for number, text in enumerate(lines, start=1):
        found = _match(imager.digest, text)
        if found is None:
            continue
        try:
            digest = Digest(algorithm_name(found["algorithm"]), found["hex"].lower())
        except UsageError:
            continue  # cut short
        statements.append(Statement(digest, name, number))
    return statements


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return pattern.fullmatch(text.rstrip("\r")) if len(text) <= _LONGEST else None
