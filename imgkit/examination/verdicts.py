"""The verdict of a run of verify: each part of an image leaves a record with one, and the worst of them stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgkit.examination.ledger import Exhibit

Record = dict[str, Any]

# Verdicts of `verify`, the worst first; a word that is none of them counts as the worst.
_VERDICTS = ("mismatch", "unreadable", "no-reference", "unchanged", "match")
_DIFFERS = ("mismatch", "unreadable")  # what one part says so, the image is


def learn_verdict(exhibit: Exhibit, record: Record) -> None:
    """Note the verdict of a run: the worst of all its parts and images, or `overall`, which its last part states."""
    data, session = record["data"], record.get("session")
    verdict = data.get("overall") or data.get("verdict")
    if verdict is None:
        return
    stands = exhibit.checking[1] if exhibit.checking and exhibit.checking[0] == session else None
    if "overall" in data or verdict in _DIFFERS:
        stands = min(stands or verdict, verdict, key=_badness)
        exhibit.checked = (record["seq"], stands)
    elif stands is None and data.get("of") == "media":
        exhibit.checked = (record["seq"], verdict)
    exhibit.checking = (session, stands)


def _badness(verdict: str) -> int:
    return _VERDICTS.index(verdict) if verdict in _VERDICTS else -1
