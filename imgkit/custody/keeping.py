"""One more file in the case folder, and its record: durable first, named once the record is, so that no crash leaves it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from imgkit.custody import checkpoint_files
from imgkit.custody.durable import told
from imgkit.custody.enclosures import discard
from imgkit.errors import CustodyError
from imgkit.linux.files import acting_as

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgkit.custody.append import Unless
    from imgkit.custody.log import CustodyLog


class Kept(NamedTuple):
    """A file that a durable record names.

    Attributes:
        path: Where it lies.
        line: Of its record.
        notices: Sentences for the examiner.
    """

    path: str
    line: int
    notices: tuple[str, ...]


def keep(
    log: CustodyLog,
    place: str,
    name: str,
    content: bytes,
    *,
    kind: str,
    data: Mapping[str, Any],
    reason: str | None = None,
    unless: Unless | None = None,
) -> Kept | None:
    """Keep a stamp or a receipt, and record it; None where another run was quicker.

    Args:
        log: Whose.
        place: checkpoint_files.FOLDER or RECEIPTS.
        name: Of the file.
        content: Its bytes; `data` states name and SHA-256: of a stamp as `file` and `sha256`, of a receipt as `name` and `text`.
        kind: Type of the event.
        data: Of the event.
        reason: In the actor's words.
        unless: When to leave it.

    Raises:
        CustodyError: It is not in the log.
    """
    what = f"keep {place}/{name} in {log.folder!r}"
    with acting_as(log.identity), told(what):
        aside = checkpoint_files.put_one_aside(log.folder, place, name, content)
    # Where the append fails, the line may be there all the same: what is aside stays, and the next run knows.
    line = (
        log.event(kind, data, reason=reason)
        if unless is None
        else log.event_unless(unless, kind, data, reason=reason)
    )
    if line is None:
        with acting_as(log.identity):
            discard([aside])
        return None
    try:
        with acting_as(log.identity), told(what):
            notices = checkpoint_files.publish([aside])
    except CustodyError as error:
        notices = [error.message]  # the bytes are safe, the record is durable; the next run names them
    return Kept(aside.path, line, tuple(notices))
