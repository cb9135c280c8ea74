"""unexpose: what imgkit exposed in directories taken down, compared with what was recorded, whatever the log says."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from imgkit import expose
from imgkit.attachment import files_changed, signals_held
from imgkit.custody.record import MALFORMED, path_fields, path_of
from imgkit.errors import ImgkitError
from imgkit.examination.attached import files_of_record
from imgkit.examination.exposing import exposure_facts, taken_away
from imgkit.examination.exposures import KnownExposures, image_served, owner_of, resolved
from imgkit.examination.knowledge import KnownLogs, Origin
from imgkit.examination.recorder import Recorder, records_of
from imgkit.examination.takedown import Ending, ending_document
from imgkit.linux.files import acting_as

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imgkit.examination.presence import Presence
    from imgkit.expose import ExposureFacts

Record = dict[str, Any]


@dataclass(slots=True)
class TakenAway(Ending):
    """What became of one exposure.

    Attributes:
        directory: Where it was to be seen.
        facts: What served it; None where that process was gone already.
        origin: Which log has it.
        guard: As it was exposed.
    """

    directory: str
    facts: ExposureFacts | None = None
    origin: Origin = field(default_factory=Origin)
    guard: str = "unknown"


class Unexposing:
    """Takes exposures in directories down, each recorded in the log that has it."""

    def __init__(self, presence: Presence, *, reason: str | None, notify: Callable[[str], object]) -> None:
        logs = KnownLogs(presence.state)
        self._presence = presence
        self._notify = notify
        self._known = KnownExposures(logs)
        self._recorder = Recorder(logs, presence.session, reason=reason)

    @property
    def records(self) -> Record | list[Record] | None:
        """`records` of the document: what was written, to whichever logs."""
        return self._recorder.records

    def unexpose(self, directories: Sequence[str]) -> list[TakenAway]:
        """Take them down, one after the other; what fails is told in its result."""
        there = {item.directory: item for item in expose.list_exposures() if item.directory is not None}
        done = []
        for directory in dict.fromkeys(map(resolved, directories)):
            one = TakenAway(directory, there.get(directory))
            try:
                with signals_held():
                    self._one(one)
            except ImgkitError as error:
                one.error = error
            done.append(one)
        self._recorder.end(self._presence, self._notify)
        return done

    def _one(self, one: TakenAway) -> None:
        one.origin = origin = self._known.at(one.directory, one.facts)
        one.log = origin.log
        owner = owner_of(one.directory)
        dead = one.facts is None or not one.facts.pid
        recorded = origin.data or {}
        data: Record = path_fields(one.directory, key="target")
        one.guard = str(recorded.get("guard", one.guard))
        if one.facts is not None and not dead:
            one.guard = one.facts.guard
            data.update(exposure_facts(one.facts, one.directory))
        if origin.log is not None:
            data["exposed_line"] = origin.line
        with self._recorder.taking_down(
            origin, "evidence.unexposed", data, exhibit=origin.exhibit, lines=one.lines
        ) as act:
            created = tuple(path_of(item) for item in recorded.get("created", ()))
            taken_away(one.directory, created, owner.identity if owner is not None else None)
            with acting_as(owner.identity if owner is not None else None):
                self._compare(one, act.data)
        one.note_trouble(act)
        event = partial(self._recorder.event, origin, exhibit=origin.exhibit, lines=one.lines)
        one.record_events(event, data)

    def _compare(self, one: TakenAway, data: Record) -> None:
        """The files of the image with what they were when it was exposed."""
        if not one.origin.files or one.origin.unlisted is not None:
            return
        try:
            files = files_of_record(one.origin.files)
        except MALFORMED:
            return  # a list beside another user's log
        changes = files_changed(files, since="exposure")
        one.compared = True
        if changes.changed:
            one.changed = changes.details
        elif changes.touched:
            one.touched = changes.details
        data.update(compared=True, details=list(changes.details))


def document_of(item: TakenAway) -> Record:
    """An entry of `exposures` of `imgkit unexpose`."""
    data, facts = item.origin.data or {}, item.facts
    file = path_of(data, key="file") if "file" in data else None
    if file is None and facts is not None:
        file = os.path.join(item.directory, facts.name)
    document: Record = {
        **path_fields(item.directory, key="directory"),
        "file": file,
        "image": image_served(facts, item.origin),
        "exhibit": item.origin.exhibit,
        "exposed": {"pid": (facts.pid or None) if facts else None, "alive": bool(facts and facts.pid)},
        "unexposed": item.error is None,
    }
    return document | ending_document(item, records_of(item.log or "", item.lines))
