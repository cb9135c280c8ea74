"""Anchoring a checkpoint in somebody else's time: a stamp that fits is kept as received, and recorded as `log.anchored`.

What the log gets after that record is provably not older than the stamp: it holds the stamp's digest.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit.custody.append import Unless
from imgkit.custody.checkpoint_files import FOLDER, SUMS
from imgkit.custody.durable import read_whole, told
from imgkit.custody.keeping import keep
from imgkit.custody.stamps import imprint_in, imprint_of
from imgkit.errors import CustodyError, UsageError
from imgkit.linux.files import acting_as

if TYPE_CHECKING:
    from imgkit.custody.log import CustodyLog
    from imgkit.custody.recorded import Checkpoints, Recorded
    from imgkit.custody.stamps import StampFacts

_SUMS_LIMIT = 4096  # bytes: two lines
_NAME_LIMIT = 64
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class Anchored:
    """A time stamp that is in the log.

    Attributes:
        facts: What it says.
        tsa: What its file is called after.
        path: Of the reply as received.
        sha256: Of the reply.
        line: Of its record.
        notices: Sentences for the examiner.
    """

    facts: StampFacts
    tsa: str
    path: str
    sha256: str
    line: int
    notices: tuple[str, ...] = ()


def tsa_name(text: str) -> str:
    """Return what files of an authority are called after: of its host, or of a name that was given.

    Raises:
        UsageError: Nothing of it can be in the name of a file.
    """
    name = _NOT_IN_A_NAME.sub("-", text.lower())[:_NAME_LIMIT].strip("-.")
    if not name:
        raise UsageError(
            f"{text!r} cannot name an authority", hint="letters, digits, dots and dashes: --name NAME"
        )
    return name


def sums_of_point(log: CustodyLog, point: Recorded) -> bytes:
    """Return what is stamped: the `.sums` of a checkpoint, which must be what the log recorded.

    Raises:
        CustodyError: Code SUMS: it holds something else. It cannot be read.
    """
    path = os.path.join(log.folder, FOLDER, point.name + SUMS)
    with acting_as(log.identity), told(f"read {path!r}"):
        try:
            found = read_whole(path, limit=_SUMS_LIMIT)
        except FileNotFoundError:
            return point.sums  # withheld, or not yet named; its record says all that is in it
    if found != point.sums:
        raise CustodyError(f"{path!r} is not what the log recorded", code="SUMS", hint="imgkit log verify")
    return found


def point_of(checkpoints: Checkpoints, reply: bytes, number: int | None) -> Recorded:
    """Return the checkpoint that a reply is for; where none fits, the one that was asked for, or the last.

    Raises:
        CustodyError: There is no checkpoint.
    """
    asked = checkpoints.chosen(number)
    if number is not None:
        return asked
    imprint = imprint_in(reply)
    fitting = (one for one in checkpoints.found if imprint_of(one.sums) == imprint)
    return next(fitting, asked)


def refuse_second(log: CustodyLog, point: Recorded, tsa: str) -> None:
    """Raise where this authority has stamped the checkpoint already: a second reply would have no name.

    Raises:
        CustodyError: As said.
    """
    path = os.path.join(log.folder, FOLDER, _file(point, tsa))
    with acting_as(log.identity):
        if os.path.lexists(path):
            raise CustodyError(
                f"checkpoint {point.n} has a time stamp of {tsa} already: {path!r}",
                hint="imgkit log checkpoint makes a new one; --name tells two authorities of one host apart",
            )


def anchor(
    log: CustodyLog, point: Recorded, reply: bytes, facts: StampFacts, *, tsa: str, reason: str | None = None
) -> Anchored:
    """Keep a reply that fits as checkpoints/NNNNNN.sums.TSA.tsr, and record it.

    Args:
        log: Whose.
        point: The checkpoint.
        reply: As received.
        facts: What check_reply says of it: nothing may be wrong.
        tsa: As tsa_name returns it.
        reason: In the actor's words.

    Raises:
        CustodyError: It does not fit, there is one of that name, or it is not in the log.
    """
    if not facts.fits:
        raise CustodyError(f"the time stamp is refused: {facts.problems[0].text}", code="BAD_TIMESTAMP")
    refuse_second(log, point, tsa)
    name, sha256 = _file(point, tsa), hashlib.sha256(reply).hexdigest()
    data: dict[str, Any] = {
        "n": point.n,
        "tsa": tsa,
        "time": facts.time,
        "serial": facts.serial,
        "policy": facts.policy,
        "name": facts.tsa,
        "file": name,
        "sha256": sha256,
        "sums": imprint_of(point.sums),
        "trusted": True if facts.trusted else None,  # without roots nobody knows
    }
    unless = Unless(point.bytes, f'"file":"{name}"'.encode())
    kept = keep(log, FOLDER, name, reply, kind="log.anchored", data=data, reason=reason, unless=unless)
    if kept is None:
        raise CustodyError(f"another run kept a time stamp of {tsa} for checkpoint {point.n} first")
    return Anchored(facts, tsa, kept.path, sha256, kept.line, kept.notices)


def _file(point: Recorded, tsa: str) -> str:
    return f"{point.name}{SUMS}.{tsa}.tsr"
