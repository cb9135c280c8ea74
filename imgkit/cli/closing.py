"""case store, dispose, review, seal, reopen: where exhibits are, who has read the log, what is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgkit.cli import options
from imgkit.cli.checkpoint import SignerOption
from imgkit.cli.handover import AuthorisedOption, SealsOption, seals_of
from imgkit.cli.output import emit, say
from imgkit.errors import UsageError

if TYPE_CHECKING:
    from imgkit.custody.checkpoints import Made

Document = dict[str, Any]


def _text(name: str, help_text: str) -> Any:
    return typer.Option(name, metavar="TEXT", help=help_text, show_default=False)


def store(
    exhibit: Annotated[list[str], typer.Argument(metavar="EX1…", help="Exhibits.")],
    place: Annotated[str, typer.Option("--place", metavar="TEXT", help="Where.", show_default=False)],
    seal: SealsOption = None,
    condition: Annotated[str | None, _text("--condition", "Of the items and their packing.")] = None,
    authorised: AuthorisedOption = None,
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Record where exhibits are kept, under which seals, and who may examine them."""
    from imgkit.examination.closing import store as record_stored
    from imgkit.examination.people import people

    if not place.strip():
        raise UsageError("the place is empty")
    allowed, seals = people(authorised, "--authorised"), seals_of(seal)
    with options.open_examination(case, examiner, None, reason) as examination:
        document = record_stored(
            examination, exhibit, place=place, seals=seals, condition=condition, authorised=allowed
        )
    _show(
        document,
        f"line {document['line']}: {', '.join(document['exhibits'])} stored: {place}",
        as_json=as_json,
    )
    return 0


def dispose(
    exhibit: Annotated[list[str], typer.Argument(metavar="EX1…", help="Exhibits.")],
    method: Annotated[
        str, typer.Option("--method", metavar="TEXT", help="Returned, wiped, shredded …", show_default=False)
    ],
    authority: Annotated[str | None, _text("--authority", "Who ordered it.")] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            "--witness", metavar="'NAME <ID>'", help="Who saw it; may be repeated.", show_default=False
        ),
    ] = None,
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Record that exhibits were returned or destroyed. Nothing is deleted by imgkit."""
    from imgkit.examination.closing import dispose as record_disposed
    from imgkit.examination.people import people

    if not method.strip():
        raise UsageError("the method is empty")
    saw = people(witness, "--witness")
    with options.open_examination(case, examiner, None, reason) as examination:
        document = record_disposed(examination, exhibit, method=method, authority=authority, witness=saw)
    _show(
        document,
        f"line {document['line']}: {', '.join(document['exhibits'])} disposed of: {method}",
        as_json=as_json,
    )
    return 0


def review(
    lines: Annotated[
        str | None,
        typer.Option("--lines", metavar="FIRST-LAST", help="Which; all by default.", show_default=False),
    ] = None,
    note: Annotated[str | None, _text("--note", "What the reviewer has to say.")] = None,
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Sign off lines as a second pair of eyes; nobody reviews their own."""
    from imgkit.examination.closing import review as record_review

    first, last = _lines(lines)
    with options.open_examination(case, examiner, None, reason) as examination:
        document = record_review(examination, first, last, note=note)
    _show(
        document,
        f"line {document['line']}: lines {document['first']} to {document['last']} reviewed",
        as_json=as_json,
    )
    return 0


def seal(
    note: Annotated[str | None, _text("--note", "Why it is complete.")] = None,
    signer: SignerOption = None,
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Seal the case: nothing more is recorded in it until it is reopened."""
    from imgkit.examination.closing import seal as seal_case

    with options.open_examination(case, examiner, None, reason) as examination:
        document, made = seal_case(examination, note=note, signer=signer)
    _show_closed(document, made, "sealed", as_json=as_json)
    return 0


def reopen(
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; recorded.", show_default=False)
    ],
    signer: SignerOption = None,
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Reopen a sealed case."""
    from imgkit.examination.closing import reopen as reopen_case

    if not reason.strip():
        raise UsageError("reopening needs a reason")
    with options.open_examination(case, examiner, None, reason) as examination:
        document, made = reopen_case(examination, signer=signer)
    _show_closed(document, made, "reopened", as_json=as_json)
    return 0


def _lines(text: str | None) -> tuple[int, int | None]:
    if text is None:
        return 1, None
    first, dash, last = text.partition("-")
    if not (first.isdecimal() and (last.isdecimal() or not dash)):
        raise UsageError(f"--lines takes FIRST-LAST, not {text!r}")
    return int(first), int(last if dash else first)


def _show(document: Document, text: str, *, as_json: bool) -> None:
    if as_json:
        emit(document)
    else:
        say(text)


def _show_closed(document: Document, made: Made, what: str, *, as_json: bool) -> None:
    signed = f"signed by {made.checkpoint.signer}" if made.signed else "UNSIGNED"
    _show(
        document,
        f"{what} at line {document['line']}, checkpoint {document['checkpoint']}, {signed}",
        as_json=as_json,
    )
    if not as_json:
        say(f"receipt  {document['receipt']}")


# command -> what runs, and an example
COMMANDS: dict[str, tuple[Any, str]] = {
    "store": (store, "imgkit case store EX1 --place 'evidence room, shelf 4' --seal 0815"),
    "dispose": (dispose, "imgkit case dispose EX1 --method 'returned to its owner'"),
    "review": (review, "imgkit case review --lines 1-57 --note 'read and understood'"),
    "seal": (seal, "imgkit case seal --note 'report delivered'"),
    "reopen": (reopen, "imgkit case reopen --reason 'appeal'"),
}
