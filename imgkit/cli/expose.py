"""expose, unexpose: the media as one read-only file that any tool can read, without root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgkit.cli import options
from imgkit.cli.ending import final
from imgkit.cli.options import ImageArgument
from imgkit.cli.output import emit, flush, is_terminal, notice, say_bytes, say_fact
from imgkit.cli.taken_down import code_of, tell_ending

if TYPE_CHECKING:
    from imgkit.examination.exposing import ExposedImage
    from imgkit.examination.unexposing import TakenAway

Document = dict[str, Any]


def expose(
    image: ImageArgument,
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="An empty directory, or one to be made.", show_default=False)
    ],
    case: options.CaseOption = None,
    exhibit: options.ExhibitOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Show the media of an image as one read-only file in DIR, for other tools; needs no root."""
    options.check_named(directory)
    with (
        options.open_examination(case, examiner, exhibit, reason) as examination,
        examination.evidence(image) as evidence,
    ):
        notice(examination.last_check(evidence))
        with examination.exposed(evidence, directory) as found, final():
            _show(found, as_json=as_json, records=examination.records)
    return 0


def _show(found: ExposedImage, *, as_json: bool, records: Document | None) -> None:
    from imgkit.examination.exposing import exposure_document

    for text in found.facts.notices:
        notice(f"{found.directory}: {text}")
    if as_json:
        emit({"schema": "imgkit.expose.v1", **exposure_document(found), "records": records})
    elif is_terminal():
        say_fact(("file", found.file))
        say_fact(("size", f"{found.facts.size} bytes"))
        say_fact(("guard", found.facts.guard))
    else:
        say_bytes(found.file)
    flush()  # while what cannot be shown is still taken down again


def unexpose(
    directories: Annotated[
        list[str],
        typer.Argument(metavar="DIR...", help="Directories that expose was given.", show_default=False),
    ],
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Take down what expose put up; returns when it has ended."""
    from imgkit.examination.presence import be_present
    from imgkit.examination.unexposing import Unexposing

    for directory in directories:
        options.check_named(directory)
    presence = be_present(examiner=examiner, argv=None, ask=options.asker())
    with presence.session:
        unexposing = Unexposing(presence, reason=reason, notify=notice)
        done = unexposing.unexpose(directories)
    for item in done:
        _tell(item)
    if as_json:
        documents = [_document(item) for item in done]
        emit({"schema": "imgkit.unexpose.v1", "exposures": documents, "records": unexposing.records})
    else:
        for item in done:
            if item.error is None:
                say_bytes(item.directory)
    return code_of(done)


def _tell(item: TakenAway) -> None:
    where = item.directory
    tell_ending(where, item)
    if item.error is not None:
        return
    if item.facts is not None and not item.facts.pid:
        notice(f"{where}: the process that served the image was gone: reads had failed")
    elif item.guard == "none":
        notice(f"{where}: not guarded against writers while exposed: verify the image")
    if item.log is None:
        notice(
            f"{where}: recorded in no log: this host knows none that tells of it; write down by hand what was done"
        )
    if not item.compared:
        notice(f"{where}: the image was not compared with how it was when it was exposed")


def _document(item: TakenAway) -> Document:
    from imgkit.examination.unexposing import document_of

    return document_of(item)


# name -> the function, and an example for its --help
COMMANDS = {
    "expose": (expose, "imgkit expose disk.E01 /tmp/disk"),
    "unexpose": (unexpose, "imgkit unexpose /tmp/disk"),
}
