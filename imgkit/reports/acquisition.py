"""What a container says of its acquisition, in words: its own statements, none of which anybody here has checked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imgkit.reports.exhibits import Acquisition
from imgkit.reports.values import is_reference, items, mapping, number, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imgkit.reports.acts import Act
    from imgkit.reports.values import Data

# Key of the record -> what a report calls it, in the order in which they are shown.
_NAMES = {
    "case_number": "case number",
    "evidence_number": "evidence number",
    "examiner": "examiner",
    "description": "description",
    "notes": "notes",
    "acquired_date": "acquired, as written",
    "acquired_epoch": "acquired, seconds since 1970",
    "system_date": "clock of the system, as written",
    "system_epoch": "clock of the system, seconds since 1970",
    "software": "software",
    "software_version": "version of the software",
    "os": "operating system",
    "model": "model",
    "serial_number": "serial number",
    "device_label": "label of the device",
    "process_id": "process id",
    "extents": "extents",
    "compression": "compression",
}
_ACCOUNTS = frozenset({"password", "errors", "differences", "other", "problems", "cut", "left_out"})
_EPOCHS = frozenset({"acquired_epoch", "system_epoch"})


def acquisition_in(acts: Iterable[Act]) -> Acquisition | None:
    """What the first of these acts that has it says: of an exhibit that an older version added, that is an `info`."""
    for act in acts:
        if act.type in ("evidence.added", "evidence.inspected"):
            facts = tuple(_facts(mapping(act.data.get("acquisition"))))
            if facts:
                return Acquisition(act.line if act.type == "evidence.added" else act.fact_line, facts)
    return None


def _facts(data: Data) -> Iterator[tuple[str, str]]:
    for key in (*_NAMES, *sorted(data.keys() - _NAMES.keys() - _ACCOUNTS)):
        if value := text(data.get(key)):
            yield _NAMES.get(key, key), value + (_moment(value) if key in _EPOCHS else "")
    if type(data.get("password")) is bool:
        yield "password", "a hash of one is stored" if data["password"] else "none"
    errors = mapping(data.get("errors"))
    if errors:
        size = number(errors.get("bytes"))
        unread = f"{size:,} bytes" if size is not None else "a size not stated"
        yield "could not read", f"{text(errors.get('count'))} ranges, {unread} in all"
    for item in items(data.get("other")):
        yield f"other: {text(item.get('field'))}", text(item.get("value"))
    for item in items(data.get("differences")):
        name = text(item.get("field"))
        yield f"{_NAMES.get(name, name)}, in section {text(item.get('section'))}", text(item.get("value"))
    yield from _accounts(data)


def _moment(value: str) -> str:
    """An epoch as UTC, beside it; nothing where a calendar has no such day."""
    try:
        return f" (as UTC: {datetime.fromtimestamp(int(value), UTC):%Y-%m-%d %H:%M:%S})"
    except (ValueError, OverflowError, OSError):
        return ""


def _accounts(data: Data) -> Iterator[tuple[str, str]]:
    """What is in doubt, and what is not here."""
    for key in ("other", "differences", "problems"):
        if is_reference(data.get(key)):
            yield key, text(data[key])
    problems = data.get("problems")
    for problem in problems if isinstance(problems, list) else ():
        yield "in doubt", text(problem)
    for item in items(data.get("cut")):
        name = text(item.get("field"))
        whole = (
            f"{text(item.get('characters'))} characters in the container, SHA-256 {text(item.get('sha256'))}"
        )
        yield f"{_NAMES.get(name, name)} is cut", whole
    if left_out := text(data.get("left_out")):
        yield "not recorded", f"{left_out} further values: the container has them"
