"""expose: the media of an image as one read-only file in a directory, for other tools; with or without root."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from imgkit.attachment import signals_held, take_guard
from imgkit.custody.record import path_fields
from imgkit.errors import CustodyError, ImgkitError
from imgkit.examination.acts import closing_failed
from imgkit.examination.cases import identity_in
from imgkit.examination.evidence import image_asked, image_document
from imgkit.examination.exposures import exposure_named_in_hint
from imgkit.expose import expose_at, unexpose
from imgkit.expose.kernel_mount import NAME_LIMIT
from imgkit.linux.process import pid_namespace
from imgkit.mounting import place_for_mount, remove_mount_point

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from imgkit.examination import Evidence, Examination
    from imgkit.expose import ExposureFacts
    from imgkit.linux.files import Identity

Record = dict[str, Any]

_WITHIN_CHARACTER = range(0x80, 0xC0)  # bytes of UTF-8 that begin none


@dataclass(frozen=True, slots=True)
class ExposedImage:
    """An exposure as the examiner knows it.

    Attributes:
        facts: What was read back.
        directory, file: Where it is to be seen.
        image, exhibit: As documents name them.
        line: Of the intent.
        created: The directories that were made for it, outermost first.
    """

    facts: ExposureFacts
    directory: str
    file: str
    image: Record
    exhibit: str
    line: int
    created: tuple[str, ...]


def name_of_file(path: str) -> str:
    """`disk.raw` of disk.E01 or disk.001: what the exposed file is called; the end of a very long name is left out."""
    stem = os.fsencode(os.path.splitext(os.path.basename(path))[0])
    end = NAME_LIMIT - len(b".raw")
    if len(stem) > end:
        while end and stem[end] in _WITHIN_CHARACTER:
            end -= 1
    return os.fsdecode(stem[:end] + b".raw")


@contextmanager
def exposed_image(examination: Examination, evidence: Evidence, directory: str) -> Iterator[ExposedImage]:
    """Show the media as a file in an empty directory (made where it is missing) until unexpose or a reboot.

    A signal or an error inside the block (the result could not be shown) takes it down again, recorded.

    Raises:
        HostError: No FUSE here.
        Busy: Somebody has a file of the image open for writing.
        MountError, NotPermitted: The directory will not do.
        CustodyError: An intent or outcome could not be recorded: it was taken down again.
    """
    with ExitStack() as undo:
        with signals_held():
            found = _expose(examination, evidence, os.path.abspath(directory))
            undo.push(_Undo(examination, found).__exit__)
        yield found


class _Undo:
    """The exit of a block whose exposure stays only if nothing was raised in it."""

    def __init__(self, examination: Examination, found: ExposedImage) -> None:
        self._examination = examination
        self._found = found

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            with signals_held():
                _take_down_again(
                    self._examination,
                    self._found,
                    why=f"{type(error).__name__} before the result was shown",
                )


def _expose(examination: Examination, evidence: Evidence, directory: str) -> ExposedImage:
    image = evidence.image
    name = name_of_file(image.path)
    asked = {**path_fields(directory, key="target"), **image_asked(image)}
    act = examination.act("evidence.exposed", asked, exhibit=evidence.exhibit)
    act.__enter__()
    with closing_failed([act]):
        facts, place, created = _show(evidence, directory, name)
    found = ExposedImage(
        facts,
        place,
        os.path.join(place, facts.name),
        image_document(image),
        evidence.exhibit,
        act.intent.seq,
        created,
    )
    act.data.update(exposure_facts(facts, place), created=[path_fields(path) for path in created])
    try:
        act.write()
    except CustodyError as error:
        _take_down_again(examination, found, why=error.message)
        raise
    return found


def _show(evidence: Evidence, directory: str, name: str) -> tuple[ExposureFacts, str, tuple[str, ...]]:
    with (
        exposure_named_in_hint(directory),
        place_for_mount(directory, identity_in(os.path.dirname(directory))) as place,
    ):
        facts = expose_at(
            evidence.image,
            place.path,
            name=name,
            identity=evidence.identity,
            take_guard=partial(take_guard, verb="expose"),
        )
        return facts, place.path, place.created


def exposure_facts(facts: ExposureFacts, directory: str) -> Record:
    """What a record keeps of an exposure in a directory."""
    return {
        **path_fields(directory, key="target"),
        **path_fields(os.path.join(directory, facts.name), key="file"),
        "pid": facts.pid,
        "started": facts.started,
        "pid_namespace": pid_namespace(),
        "dev": str(facts.dev),
        "ino": str(facts.ino),
        "guard": facts.guard,
        "notices": list(facts.notices),
    }


def exposure_document(found: ExposedImage) -> Record:
    """The document of `imgkit expose`, without schema and records."""
    return {
        "image": found.image,
        "exhibit": found.exhibit,
        **path_fields(found.directory, key="directory"),
        **path_fields(found.file, key="file"),
        "size": found.facts.size,
        "guard": found.facts.guard,
        "exposed": {"pid": found.facts.pid, "alive": True},
        "notices": list(found.facts.notices),
    }


def taken_away(directory: str, created: Sequence[str], identity: Identity | None = None) -> None:
    """Take an exposure down, and the directories that were made for it, where they lead to it.

    Args:
        directory: Where it is.
        created: As recorded, outermost first.
        identity: With whose rights root removes them; None: those of the owner of the place.

    Raises:
        Busy, MountError: As expose.unexpose.
    """
    unexpose(directory)
    created = [path for path in created if f"{directory}/".startswith(f"{path}/")]
    if created:
        remove_mount_point(directory, created, identity or identity_in(os.path.dirname(created[0])))


def _take_down_again(examination: Examination, found: ExposedImage, *, why: str) -> None:
    data: Record = {**exposure_facts(found.facts, found.directory), "exposed_line": found.line, "why": why}
    try:
        with examination.taking_down("evidence.unexposed", data, exhibit=found.exhibit) as down:
            taken_away(found.directory, found.created)
    except ImgkitError as error:
        examination.notify(f"{found.directory} is still exposed: {error.message}")
        return
    examination.notify(f"{found.directory} was taken down again: {why}")
    if down.unrecorded is not None:
        examination.notify(f"{found.directory}: RECORDED NOWHERE: {down.unrecorded}; write it down by hand")
