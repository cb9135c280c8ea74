"""Custody logs of others as references: verified first, read-only, their digests as stated as an acquisition's."""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from imgkit.custody.reading import read_opening, read_records
from imgkit.custody.verify import Severity, verify_log
from imgkit.errors import CustodyError, ReferenceFileError
from imgkit.examination.cases import LOG_NAME, acting_in, identity_in, verifying_in
from imgkit.examination.ledger import Exhibit, fold
from imgkit.examination.own_references import own_references

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.custody.state import StateFolder
    from imgkit.image import Image
    from imgkit.references.reference import Reference


def log_at(path: str) -> str | None:
    """Return the custody log that a path means: a case folder's, or the file itself; None of any other file.

    Raises:
        ReferenceFileError: A folder that holds none.
    """
    place = os.path.abspath(path)
    with acting_in(os.path.dirname(place)):
        if os.path.isdir(place):
            log = os.path.join(place, LOG_NAME)
            if not os.path.isfile(log):
                raise ReferenceFileError(
                    f"{path} is a folder without a custody log", hint="name a file in it"
                )
            return log
        if os.path.basename(place) == LOG_NAME:
            return place
        try:
            read_opening(place)
        except CustodyError:
            return None  # some other file; who reads those says what is wrong with it
    return place


def log_references(
    log: str, image: Image, *, own: str, memory: StateFolder
) -> tuple[list[Reference], list[str]]:
    """What the log of another case states of an image, and notices on what was not used.

    Of several exhibits the one counts whose file is called like the image's; of one exhibit, that one.

    Args:
        log: Path of the log.
        image: Which image is compared.
        own: Uuid of the log worked with: what that one states stays our own word.
        memory: What this host remembers of logs.

    Raises:
        ReferenceFileError: The log is not in order.
        CustodyError: It cannot be read.
    """
    with verifying_in(os.path.dirname(log)):
        if read_opening(log)["log"] == own:
            return [], [f"{log} is of the log worked with: its digests count as our own"]
        found = verify_log(log, state=memory)
    if not found.ok:
        wrong = dict.fromkeys(item.code for item in found.findings if item.severity == Severity.FAIL)
        codes = ", ".join(wrong) or "a newer imgkit wrote it"
        raise ReferenceFileError(
            f"{log} is not used: the log does not verify ({codes})", hint=f"imgkit log verify {log}"
        )
    ledger = fold(read_records(log, identity=identity_in(os.path.dirname(log))))
    exhibit, notice = _exhibit_of(image, ledger.known())
    if exhibit is None:
        return [], [f"{log} {notice}"]
    same_container = exhibit.added.get("format") == image.format
    stated = [
        replace(item, source=replace(item.source, origin="acquisition"))
        for item in own_references(ledger, exhibit, log)
        if same_container
        or not item.of.startswith(("container", "segment:"))  # the same media, stored otherwise
    ]
    return stated, [] if stated else [f"{log} states no digest of {exhibit.name}"]


def _exhibit_of(image: Image, exhibits: Sequence[Exhibit]) -> tuple[Exhibit | None, str]:
    own = (item.path for item in image.segments if item.role != "parent")
    names = {os.path.basename(path) for path in (image.path, *own)}
    named = [item for item in exhibits if names & _base_names(item)]
    base = os.path.basename(image.path)
    if len(named) == 1:
        return named[0], ""
    if named:
        which = ", ".join(item.name for item in named)
        return (
            None,
            f"has several exhibits whose file is called {base} ({which}): which is meant cannot be told",
        )
    if len(exhibits) == 1:
        return exhibits[0], ""
    return None, f"has {len(exhibits)} exhibits, none of a file called {base}"


def _base_names(exhibit: Exhibit) -> set[str]:
    """An absolute path begins with a slash; base64 of one does not."""
    paths = (key if key.startswith("/") else os.fsdecode(base64.b64decode(key)) for key in exhibit.paths)
    return {os.path.basename(path) for path in paths}
