"""detach and unmount: only what imgkit made, compared with what was recorded, gone when this returns, whatever the log says."""

from __future__ import annotations

import os
import shlex
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from imgkit import expose
from imgkit.attachment import detach, left_over, signals_held, silence
from imgkit.attachment.release import is_gone
from imgkit.errors import AttachError, CustodyError, ImgkitError, UsageError
from imgkit.examination.attached import Attached, detached_facts, mount_facts, recorded
from imgkit.examination.cases import identity_in
from imgkit.examination.exposures import exposed_at
from imgkit.examination.knowledge import KnownLogs, log_uuid
from imgkit.examination.recorder import Recorder
from imgkit.examination.takedown import Ending
from imgkit.mounting import list_mounts, unmount

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imgkit.attachment import Detached
    from imgkit.examination.knowledge import Origin
    from imgkit.examination.presence import Presence
    from imgkit.mounting import Mount

Record = dict[str, Any]

_NAMED = 8  # of a longer list


@dataclass(slots=True)
class TakenDown(Ending):
    """What became of one attachment.

    Attributes:
        attached: What it was.
        guard: At detach.
        unmounted: Directories it was unmounted from.
        by: Who attached it.
    """

    attached: Attached
    guard: str = "unknown"
    unmounted: list[str] = field(default_factory=list)
    by: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to be taken down.

    Attributes:
        names: Devices, mount points, images.
        everything: `--all`: what this examiner attached (with a case: what that case attached).
        everyone: Also what others attached.
        case: Path of the log that `--case` names, whether it can be read or not; or None.
    """

    names: tuple[str, ...] = ()
    everything: bool = False
    everyone: bool = False
    case: str | None = None


class Takedown:
    """Takes attachments down, each recorded in the log of its attach."""

    def __init__(self, presence: Presence, *, reason: str | None, notify: Callable[[str], None]) -> None:
        self._presence = presence
        self._notify = notify
        self._logs = KnownLogs(presence.state)
        self._recorder = Recorder(self._logs, presence.session, reason=reason)

    @property
    def records(self) -> Record | list[Record] | None:
        """`records` of the document: what was written, to whichever logs."""
        return self._recorder.records

    def detach(self, selection: Selection) -> list[TakenDown]:
        """Detach what is selected; a mounted one is refused by name. `--all` ends what serves devices no more, too."""
        done = [self._one(item, may_unmount=False) for item in self._select(selection)]
        if selection.everything:
            self._end_left_over(everyone=selection.everyone)
        self._recorder.end(self._presence, self._notify)
        return done

    def _end_left_over(self, *, everyone: bool) -> None:
        """Processes that were to serve devices and serve none: the log has the attach as interrupted."""
        for facts in expose.list_exposures():
            if facts.directory is not None:
                self._notify(
                    f"exposed, and stays: {facts.directory} (imgkit unexpose {shlex.quote(facts.directory)})"
                )
        for facts in left_over():
            origin = self._logs.origin_of_exposure(facts.name)
            if not everyone and not self._is_mine(origin):
                continue
            expose.stop(facts)
            self._notify(f"ended pid {facts.pid}, which served {facts.path} for no device any more")

    def unmount(self, selection: Selection) -> list[TakenDown]:
        """Unmount and detach what is selected and mounted."""
        chosen = [item for item in self._select(selection) if item.mount is not None]
        if selection.names and not chosen:
            raise AttachError(
                f"nothing of {', '.join(selection.names)} is mounted", hint="imgkit status shows what is"
            )
        done = [self._one(item, may_unmount=True) for item in chosen]
        self._recorder.end(self._presence, self._notify)
        return done

    # -- what is meant ---------------------------------------------------------------------------

    def _select(self, selection: Selection) -> list[Attached]:
        if bool(selection.names) == selection.everything:
            raise UsageError(
                "name devices, directories or images, or say --all",
                hint="imgkit status shows what is attached",
            )
        there = list(self._logs.attached_now())
        if selection.everything:
            return self._all(there, selection)
        chosen: list[Attached] = []
        for name in selection.names:
            found = [item for item in there if _is_meant(item, name)]
            # An image that was replaced meanwhile: its name now leads to another file, and still says what is meant.
            found = found or [item for item in there if self._logs.origin(item.attachment).was_at(name)]
            if not found and (exposed := exposed_at(name)) is not None:
                raise AttachError(
                    f"an image is exposed at {name}, and attached to nothing",
                    hint=f"imgkit unexpose {shlex.quote(exposed)}",
                )
            if not found:
                raise AttachError(
                    f"{name} is nothing that imgkit attached", hint="imgkit status shows what is attached"
                )
            chosen += [item for item in found if item not in chosen]
        return chosen

    def _all(self, there: list[Attached], selection: Selection) -> list[Attached]:
        is_mine = self._is_mine if selection.case is None else self._is_of(selection.case, there)
        chosen, others = [], []
        for item in there:
            mine = is_mine(self._logs.origin(item.attachment))
            if mine or selection.everyone:
                chosen.append(item)
            if not mine:
                others.append(item)
        if selection.everyone:
            for item in others:
                who = self._logs.origin(item.attachment).who
                self._notify(f"{item.attachment.device} was attached by {who}")
        elif others:
            self._notify(self._what_stays(others))
        return chosen

    def _what_stays(self, others: Sequence[Attached]) -> str:
        """One line, however many there are."""
        devices: dict[str, list[str]] = {}
        for item in others:
            devices.setdefault(self._logs.origin(item.attachment).who, []).append(item.attachment.device)
        named = [f"{_some(found)} of {who}" for who, found in devices.items()]
        return f"attached by others, and stays: {_some(named, '; ')} (--everyone takes it down too)"

    def _is_mine(self, origin: Origin) -> bool:
        """This examiner's; where no log tells whose it is any more, that of a log which this user wrote to."""
        if origin.actor_id is None:
            return origin.path is not None
        return origin.actor_id == self._presence.examiner.id

    def _is_of(self, case: str, there: Sequence[Attached]) -> Callable[[Origin], bool]:
        """Whether an origin is of the log at a path; where it cannot be read, of the log that lay there last.

        Raises:
            CustodyError: There is no log that can be read, and nothing attached is of one that lay there.
        """
        try:
            uuid = log_uuid(case)
        except CustodyError:
            logs = {item.attachment.log for item in there if item.attachment.log is not None}
            lost = {log for log in logs if self._logs.path_of_log(log) == case}
            if not lost:
                raise
            return lambda origin: origin.log in lost
        return lambda origin: origin.log == uuid

    # -- the act ---------------------------------------------------------------------------------

    def _one(self, item: Attached, *, may_unmount: bool) -> TakenDown:
        done = TakenDown(item)
        try:
            with signals_held(), ExitStack() as held:
                pin = None
                if may_unmount:
                    # Held open: the last unmount would free the device before it is asked what it was.
                    pin = os.open(item.attachment.device, os.O_RDONLY | os.O_CLOEXEC)
                    held.callback(os.close, pin)
                    if item.attachment.exposed is not None and not item.attachment.exposed.alive:
                        silence(pin, item.attachment)  # or the unmount would wait as the reads do
                    still_there = not is_gone(item.attachment)
                    for mounted in list_mounts([item.attachment]) if still_there else ():
                        self._unmount(item, mounted, done)
                held.pop_all()  # detach closes it
                self._detach(item, done, pin)
        except ImgkitError as error:
            done.error = error
        except OSError as error:
            done.error = AttachError(f"cannot take down {item.attachment.device}: {error.strerror}")
        return done

    def _unmount(self, item: Attached, mounted: Mount, done: TakenDown) -> None:
        origin = self._logs.origin(item.attachment)
        there = {"filesystem": item.filesystem["type"]} if item.filesystem else {}
        data: Record = {
            "source": mounted.source,
            "diskseq": item.attachment.diskseq or 0,
            **origin.line_facts,
            **there,
            **mount_facts(mounted),
        }
        with self._recorder.taking_down(
            origin, "evidence.unmounted", data, exhibit=item.exhibit, lines=done.lines
        ) as act:
            created = self._logs.created_for(origin, mounted.target)
            identity = identity_in(os.path.dirname(mounted.target)) if created else None
            unmount(mounted.target, source=mounted.source, created=created, identity=identity)
        done.unmounted.append(mounted.target)
        done.note_trouble(act)

    def _detach(self, item: Attached, done: TakenDown, pin: int | None) -> None:
        attachment = item.attachment
        origin = self._logs.origin(attachment)
        done.log, done.by = origin.log, origin.who
        if origin.data is not None:
            attachment = recorded(attachment, origin.data, origin.files)
            done.compared = origin.unlisted is None
        data: Record = {
            "device": attachment.device,
            "diskseq": attachment.diskseq or 0,
            "label": attachment.label,
            **origin.line_facts,
        }
        with self._recorder.taking_down(
            origin, "evidence.detached", data, exhibit=item.exhibit, lines=done.lines
        ) as act:
            result = detach(attachment, own=pin)
            _judge(done, result)
            act.data.update(
                detached_facts(result, compared=done.compared), details=[*done.changed, *done.touched]
            )
        done.note_trouble(act)
        event = partial(self._recorder.event, origin, exhibit=item.exhibit, lines=done.lines)
        done.record_events(event, data)


def _some(names: Sequence[str], between: str = ", ") -> str:
    """The first few of what may be thousands."""
    more = f"{between}and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return between.join(names[:_NAMED]) + more


def _judge(done: TakenDown, result: Detached) -> None:
    changes = result.changes
    done.guard = result.guard
    if result.changed:
        writes = (f"{result.writes} sectors were written through the device",) if result.writes else ()
        done.changed = (*writes, *changes.details)
    elif result.touched:
        done.touched = changes.details


def _is_meant(item: Attached, name: str) -> bool:
    """A device, a mount point, or an image: by device and inode, never by its path alone."""
    attachment = item.attachment
    if name in (attachment.device, os.path.basename(attachment.device)):
        return True
    path = os.path.abspath(name)
    if item.mount is not None and path in (item.mount.target, os.path.dirname(item.mount.target)):
        return True
    if attachment.exposed is not None and path == attachment.backing.path:
        return True
    try:
        found = os.stat(path)
    except OSError:
        return path == attachment.backing.path
    if (found.st_dev, found.st_ino) == (attachment.proof.device, attachment.proof.inode):
        return True
    return item.mount is not None and os.path.realpath(path) == item.mount.target
