"""Time stamps and receipts of the case at hand: which checkpoint, which authority, whose files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgkit.custody.durable import create_file, told
from imgkit.custody.recorded import checkpoints_of
from imgkit.errors import CustodyError, UsageError
from imgkit.linux.files import acting_as, open_regular

if TYPE_CHECKING:
    from imgkit.custody.anchoring import Anchored
    from imgkit.custody.checkpoints import Made
    from imgkit.custody.receipts import Given, Taken
    from imgkit.custody.recorded import Recorded
    from imgkit.custody.stamps import StampFacts
    from imgkit.examination import Examination
    from imgkit.linux.files import Identity

_FILE_MODE = 0o644
_NOT_DONE = ("malformed", "status")  # there is no stamp; anything else is one that does not fit


@dataclass(frozen=True, slots=True)
class Stamped:
    """What became of a reply.

    Attributes:
        point: The checkpoint that it was held against.
        facts: What it says.
        anchored: The record; None: the reply does not fit, and nothing was kept.
    """

    point: Recorded
    facts: StampFacts
    anchored: Anchored | None


@dataclass(frozen=True, slots=True)
class Asking:
    """Which authority, and how far it is trusted.

    Attributes:
        url: Where to ask; None: as the settings say.
        roots: File of trusted certificates; None: as the settings say where their authority is asked.
        name: What its files are called after; None: after its host or its certificate.
    """

    url: str | None = None
    roots: str | None = None
    name: str | None = None


def write_query(examination: Examination, path: str, *, number: int | None = None) -> tuple[Recorded, str]:
    """Write the query for a stamp over a checkpoint to a new file, for a machine with a network; return its imprint too.

    Raises:
        CustodyError: There is no checkpoint, or the file is there already.
    """
    from imgkit.custody.anchoring import sums_of_point
    from imgkit.custody.stamps import request

    point = _point(examination, number)
    query = request(sums_of_point(examination.log, point))
    write_new(path, query.der, _identity(examination))
    return point, query.imprint


def ask_for_stamp(examination: Examination, asking: Asking, *, number: int | None = None) -> Stamped:
    """Ask an authority for a stamp over a checkpoint; keep and record it if it fits.

    Raises:
        UsageError: No authority is named.
        CustodyError: There is no checkpoint; the authority refused; the stamp could not be kept.
        HostError: The authority could not be asked.
    """
    from imgkit.custody.anchoring import refuse_second, sums_of_point, tsa_name
    from imgkit.custody.authority import ask, host_of
    from imgkit.custody.stamps import request

    url, roots = _authority(examination, asking)
    tsa = tsa_name(asking.name or host_of(url))
    point = _point(examination, number)
    sums = sums_of_point(examination.log, point)
    refuse_second(examination.log, point, tsa)
    query = request(sums)
    reply = ask(url, query.der)
    facts = _checked(examination, reply, sums, nonce=query.nonce, roots=roots)
    return _keep(examination, point, reply, facts, tsa)


def import_reply(
    examination: Examination,
    path: str,
    asking: Asking,
    *,
    query: str | None = None,
    number: int | None = None,
) -> Stamped:
    """Take in a reply that was fetched elsewhere; keep and record it if it fits.

    Args:
        examination: Whose log.
        path: File with the reply.
        asking: Roots and name.
        query: File with the query that was answered, whose nonce the reply must repeat.
        number: Of the checkpoint; None: the one that the reply is for.

    Raises:
        CustodyError: No such file; no checkpoint; no stamp in the reply; it could not be kept.
    """
    from imgkit.custody.anchoring import point_of, sums_of_point, tsa_name
    from imgkit.custody.stamp_reply import REPLY_LIMIT
    from imgkit.custody.stamps import QUERY_LIMIT, read_query

    identity = _identity(examination)
    reply = read_file(path, REPLY_LIMIT, identity)
    nonce = read_query(read_file(query, QUERY_LIMIT, identity)).nonce if query is not None else None
    point = point_of(checkpoints_of(examination.log), reply, number)
    sums = sums_of_point(examination.log, point)
    facts = _checked(examination, reply, sums, nonce=nonce, roots=asking.roots)
    return _keep(examination, point, reply, facts, tsa_name(asking.name or facts.tsa or "tsa"))


def _point(examination: Examination, number: int | None) -> Recorded:
    checkpoints = checkpoints_of(examination.log)
    point = checkpoints.chosen(number)
    if number is None and not checkpoints.settled:
        examination.notify(
            f"checkpoint {point.n} covers lines 1 to {point.size} alone, and more were written since: "
            "imgkit log checkpoint covers them"
        )
    return point


def _authority(examination: Examination, asking: Asking) -> tuple[str, str | None]:
    """URL and roots; the roots of the settings are those of their own authority."""
    known = examination.presence.settings.tsa
    url = asking.url or (known.url if known is not None else None)
    if url is None:
        raise UsageError(
            "no time-stamp authority is named",
            hint='--url URL, or tsa = "URL" in imgkit.toml; without a network --request FILE',
        )
    roots = asking.roots
    if roots is None and known is not None and known.roots is not None and known.url == url:
        roots = _at_home(known.roots, examination.presence.user.home)
    return url, roots


def _at_home(path: str, home: str | None) -> str:
    if path.startswith("~/") and home is not None:
        return os.path.join(home, path[2:])
    if not os.path.isabs(path):
        raise UsageError(
            f"the settings name the roots {path!r} by a relative path", hint="begin with / or ~/"
        )
    return path


def _identity(examination: Examination) -> Identity | None:
    """With whose rights files outside of the case are touched: behind sudo the invoking user's."""
    user = examination.presence.user
    return user.identity if os.geteuid() == 0 and user.uid != 0 else None


def _checked(
    examination: Examination, reply: bytes, sums: bytes, *, nonce: int | None, roots: str | None
) -> StampFacts:
    """What the reply is worth; without a stamp in it there is nothing to be compared."""
    from imgkit.custody.stamps import check_reply, read_roots

    with acting_as(
        _identity(examination)
    ):  # no longer than for the file: that user may not see root's libraries
        trusted = read_roots(roots) if roots is not None else None
    facts = check_reply(reply, sums=sums, nonce=nonce, roots=trusted)
    for problem in facts.problems:
        if problem.kind in _NOT_DONE:
            raise CustodyError(problem.text, code="BAD_TIMESTAMP")
    return facts


def _keep(examination: Examination, point: Recorded, reply: bytes, facts: StampFacts, tsa: str) -> Stamped:
    from imgkit.custody.anchoring import anchor

    if not facts.fits:
        return Stamped(point, facts, None)
    settled = checkpoints_of(examination.log).settled
    anchored = anchor(examination.log, point, reply, facts, tsa=tsa, reason=examination._reason)
    _written(examination, anchored.line, anchored.notices, settled=settled)
    return Stamped(point, facts, anchored)


def give_receipt(
    examination: Examination, *, to: str | None = None, signer: str | None = None
) -> tuple[Given, Made | None]:
    """Give a receipt for all that the log holds, of a new checkpoint where it needs one.

    Raises:
        UsageError: The statement of the signer makes no sense.
        CustodyError: It is not in the log.
    """
    from imgkit.custody.receipts import give

    checkpoints = checkpoints_of(examination.log)
    made = None if checkpoints.settled else examination.checkpoint("receipt", signer=signer)
    point = made.checkpoint if made is not None else checkpoints.chosen(None)
    given = give(examination.log, point, to=to, reason=examination._reason)
    _written(examination, given.line, given.notices, settled=True)
    return given, made


def take_receipt(examination: Examination, text: str, *, sender: str | None = None) -> Taken:
    """Keep another party's receipt: its text, or a file that has it.

    Raises:
        UsageError: It is one of this very log, or neither text nor file.
        CustodyError: There is no receipt in it, or it is not in the log.
    """
    from imgkit.custody.checkpoint import RECEIPT_MAGIC
    from imgkit.custody.receipts import TEXT_LIMIT, take

    if RECEIPT_MAGIC not in text.lower():
        if not os.path.lexists(text):
            raise UsageError(f"{text[:80]!r} is neither a receipt nor a file with one")
        text = read_file(text, TEXT_LIMIT, _identity(examination)).decode("utf-8", "replace")
    taken = take(examination.log, text, sender=sender, reason=examination._reason)
    _written(examination, taken.line, taken.notices, settled=False)
    return taken


def _written(examination: Examination, line: int, notices: tuple[str, ...], *, settled: bool) -> None:
    """Note a line; where it only tells of the last checkpoint, a case asks for no other after it."""
    examination._written(line)
    if settled:
        examination.checkpointed = line
    for text in notices:
        examination.notify(text)


def read_file(path: str, limit: int, identity: Identity | None) -> bytes:
    """Return the bytes of a regular file that somebody names.

    Raises:
        CustodyError: It cannot be read, is no regular file, or is too long.
    """
    with acting_as(identity), told(f"read {path!r}", given=True), open_regular(path, follow=True) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise CustodyError(f"{path!r} has more than {limit:,} bytes")
    return data


def write_new_for(examination: Examination, path: str, data: bytes) -> None:
    """Write a new file that the examiner names, with the rights of the invoking user: see write_new."""
    write_new(path, data, _identity(examination))


def write_new(path: str, data: bytes, identity: Identity | None) -> None:
    """Write a new file that somebody names; what is there is never overwritten.

    Raises:
        CustodyError: It is there already, or cannot be written.
    """
    place = os.path.abspath(path)
    with acting_as(identity), told(f"write {path!r}", given=True):
        create_file(place, data, like=os.stat(os.path.dirname(place)), mode=_FILE_MODE)


__all__ = [
    "Asking",
    "Stamped",
    "ask_for_stamp",
    "give_receipt",
    "import_reply",
    "read_file",
    "take_receipt",
    "write_new_for",
    "write_query",
]
