"""What a container says of its acquisition, as a record holds it: words found in it, bounded, checked by nobody."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from imgkit.custody.record import INTEGER_LIMIT, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imgkit.image import Image

Record = dict[str, Any]

LONGEST = 2_000  # characters of one value, half of that where a line has most of them as 12 bytes
_LARGEST = 6 * LONGEST + 2  # bytes of one value as a line has it
_LONGEST_NAME = 64  # characters of a name that the container itself made up
_MOST = 16_000  # bytes of all values as a line has them: a quarter of what a line may be
_MOST_PROBLEMS = 20  # the first; all of them are notices of `info`
_MOST_UNNAMED = 50  # of `other`, and of `differences`

NAMED = (
    *("case_number", "evidence_number", "examiner", "acquired_date", "acquired_epoch", "system_date"),
    *("system_epoch", "software", "software_version", "os", "description", "notes"),
    *("model", "serial_number", "device_label", "process_id", "extents", "compression"),
)  # first what matters most: what comes last is left out where there is no room


def acquisition_record(image: Image) -> Record:
    """What the container states of its acquisition; empty where it states nothing.

    Returns:
        The values by name, each a string as found; `password`: whether a hash of one is there; `other`: [{field, value}]
        of what has no name here; `differences`: [{field, section, value}] where its sections disagree; `errors`: {count,
        bytes} that the acquiring program could not read; `problems`: sentences on what of this is in doubt; `cut`:
        [{field, characters, sha256}] of the whole value where only its beginning is here; `left_out`: how many
        values had no room.
    """
    facts = image.metadata.get("acquisition")
    record = _Bounded().record(facts) if isinstance(facts, dict) else {}
    problems = image.metadata.get("acquisition_problems")
    if isinstance(problems, tuple) and problems:
        record["problems"] = [printable(text) for text in problems[:_MOST_PROBLEMS]]
    if errors := _errors(image):
        record["errors"] = errors
    return record


def _errors(image: Image) -> Record:
    """How many ranges the acquiring program says it could not read, and their bytes: the ranges are in the container."""
    ranges = image.metadata.get("acquisition_errors")
    if not isinstance(ranges, tuple) or not ranges:
        return {}
    size = sum(item["length"] for item in ranges)
    return {"count": len(ranges), "bytes": size if size <= INTEGER_LIMIT else str(size)}


class _Bounded:
    """Takes values until there is no room, and keeps account of what it cut or left out."""

    def __init__(self) -> None:
        self._room = _MOST
        self._cut: list[Record] = []
        self._left_out = 0

    def record(self, facts: Mapping[str, object]) -> Record:
        """The record of these facts, as header_values.acquisition_facts gives them."""
        record: Record = {}
        for name in NAMED:
            if name in facts and (value := self._fitting(name, facts[name])) is not None:
                record[name] = value
        if isinstance(facts.get("password"), bool):
            record["password"] = facts["password"]
        if differences := self._listed(_differences(facts), "differences"):
            record["differences"] = differences
        if other := self._listed(_other(facts), "other"):
            record["other"] = other
        if self._cut:
            record["cut"] = self._cut
        if self._left_out:
            record["left_out"] = self._left_out
        return record

    def _listed(self, found: Iterator[Record], where: str) -> list[Record]:
        listed: list[Record] = []
        for item in found:
            if len(listed) == _MOST_UNNAMED or len(item["field"]) > _LONGEST_NAME:
                self._left_out += 1
                continue
            place = ".".join((where, item["field"], *([item["section"]] if "section" in item else [])))
            if (value := self._fitting(place, item["value"], len(_encoded(item["field"])))) is not None:
                listed.append({**item, "value": value})
        return listed

    def _fitting(self, place: str, value: object, more: int = 0) -> str | None:
        """The value, its beginning where it is too long, or None where it has no room; `more` bytes go with it."""
        text = json.dumps(value) if isinstance(value, bool) else str(value)
        kept = text[:LONGEST]
        if len(_encoded(kept)) > _LARGEST:
            kept = text[: LONGEST // 2]
        size = len(_encoded(kept)) + more
        if size > self._room:
            self._left_out += 1
            return None
        self._room -= size
        if kept != text:
            digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
            self._cut.append({"field": place, "characters": len(text), "sha256": digest})
        return kept


def _encoded(text: str) -> bytes:
    """As a line holds it."""
    return json.dumps(text).encode()


def _differences(facts: Mapping[str, object]) -> Iterator[Record]:
    """One entry for each section that states the field: their names are no keys that a record may have."""
    found = facts.get("differences")
    for item in found if isinstance(found, list) else ():
        field = str(item["field"])
        for section, value in item.items():
            if section != "field":
                yield {"field": field, "section": str(section), "value": value}


def _other(facts: Mapping[str, object]) -> Iterator[Record]:
    found = facts.get("other")
    for field, value in (found if isinstance(found, dict) else {}).items():
        yield {"field": str(field), "value": value}
