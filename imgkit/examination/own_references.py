"""What a custody log itself states of an exhibit, as references that an image is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.references.reference import Reference, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.examination.ledger import Exhibit, Ledger


def own_references(ledger: Ledger, exhibit: Exhibit, log: str) -> list[Reference]:
    """Return what a log states of an exhibit: stated at its addition, and computed by us (the first of each kind).

    Args:
        ledger: What the log says.
        exhibit: Of it.
        log: Path of the log, for the sources.
    """
    stated = [
        Reference(digest, of, Source("custody", log, line, "acquisition", "log"))
        for of, digest, line in exhibit.stated
    ]
    computed = [
        Reference(
            item.digest,
            item.of,
            Source("custody", log, item.line, "own", "log"),
            extent=key[1],
            sector_size=item.sector_size,
        )
        for key, item in exhibit.first_own().items()
    ]
    return [*stated, *_of_its_original(ledger, exhibit, log), *computed]


def _of_its_original(ledger: Ledger, exhibit: Exhibit, log: str) -> Iterator[Reference]:
    """What a working copy has to be: its original as it was read first, be that after the copy was added."""
    original = ledger.exhibits.get(str(exhibit.added.get("copy_of")))
    known = {str(digest) for of, digest, _line in exhibit.stated if of == "media"}
    for item in original.first_own().values() if original is not None else ():
        if item.of == "media" and str(item.digest) not in known:
            yield Reference(item.digest, "media", Source("custody", log, item.line, "acquisition", "log"))
