"""case: make a case, say what its exhibits are, note, enclose, correct, show."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgkit.cli import closing, handover, options
from imgkit.cli.options import ImageArgument
from imgkit.cli.output import emit, human, notice, say, say_fact, table
from imgkit.cli.reporting import report
from imgkit.cli.times import local_time
from imgkit.custody.record import printable
from imgkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

Document = dict[str, Any]

app = typer.Typer(help="Cases: folders with a custody log.", no_args_is_help=True)

AboutOption = Annotated[
    str | None,
    typer.Option("--exhibit", metavar="EX1", help="Which exhibit it is about.", show_default=False),
]


def _text(name: str, help_text: str) -> Any:
    return typer.Option(name, metavar="TEXT", help=help_text, show_default=False)


@app.command("new", epilog="Example: imgkit case new cases/2026-0142 --number 2026-0142")
def new(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder of the case; made where it is missing.")
    ],
    number: Annotated[str | None, _text("--number", "Case number.")] = None,
    title: Annotated[str | None, _text("--title", "What it is about.")] = None,
    agency: Annotated[str | None, _text("--agency", "Agency or client.")] = None,
    lead: Annotated[str | None, _text("--lead", "Who leads it.")] = None,
    authority: Annotated[str | None, _text("--authority", "Warrant, order or consent.")] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            metavar="WHEN",
            help="Sign the log: hand-over (the default) or each-command.",
            show_default=False,
        ),
    ] = None,
    examiner: options.ExaminerOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Make a case folder with a custody log in it."""
    from imgkit.examination.casework import new_case
    from imgkit.examination.checkpointing import policy_fields
    from imgkit.examination.presence import be_present

    policy = policy_fields(checkpoint)
    presence = be_present(examiner=examiner, argv=None, ask=options.asker())
    facts = {"number": number, "title": title, "agency": agency, "lead": lead, "authority": authority}
    document = new_case(presence, folder, facts, policy=policy, notify=notice)
    _show(document, as_json, f"{document['folder']}: log {document['uuid']}, opened by {presence.examiner}")
    return 0


@app.command(
    "add", epilog="Example: imgkit case add disk.dd --description 'laptop, desk 4' --serial S3Z9NB0K"
)
def add(
    image: ImageArgument,
    description: Annotated[str | None, _text("--description", "What it is.")] = None,
    make: Annotated[str | None, _text("--make", "Maker of the source.")] = None,
    model: Annotated[str | None, _text("--model", "Model of the source.")] = None,
    serial: Annotated[str | None, _text("--serial", "Serial number of the source.")] = None,
    acquired_by: Annotated[str | None, _text("--acquired-by", "Who acquired it.")] = None,
    acquired_when: Annotated[str | None, _text("--acquired-when", "When, as stated.")] = None,
    acquired_with: Annotated[str | None, _text("--acquired-with", "With which tool.")] = None,
    digest: Annotated[
        list[str] | None,
        typer.Option(
            "--digest",
            metavar="ALG:HEX",
            help="Digest stated at acquisition; may be repeated.",
            show_default=False,
        ),
    ] = None,
    copy_of: Annotated[
        str | None,
        typer.Option(
            "--copy-of", metavar="EX1", help="It is a working copy of that exhibit.", show_default=False
        ),
    ] = None,
    authorised: handover.AuthorisedOption = None,
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Add an image to the case as an exhibit, with what is known of it."""
    from imgkit.examination.casework import add_exhibit, describe
    from imgkit.examination.people import people
    from imgkit.hashing import Digest

    data = describe(
        description=description,
        source={"make": make, "model": model, "serial": serial},
        acquired={"by": acquired_by, "when": acquired_when, "tool": acquired_with},
        stated=[Digest.parse(text) for text in digest or ()],
        copy_of=copy_of,
        authorised=people(authorised, "--authorised"),
    )
    with options.open_examination(case, examiner, None, reason) as examination:
        document = add_exhibit(examination, image, data)
    _show(document, as_json, f"{document['exhibit']}: {printable(document['image']['path'])}")
    return 0


@app.command("note", epilog="Example: imgkit case note 'seal 0815 broken on arrival' --exhibit EX1")
def note(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The note; - reads it from standard input.")],
    exhibit: AboutOption = None,
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Record a note; the log holds its digest, the text is an enclosure."""
    from imgkit.examination.casework import add_note

    content = sys.stdin.read() if text == "-" else text
    with options.open_examination(case, examiner) as examination:
        document = add_note(examination, content, exhibit)
    _show(document, as_json, f"line {document['line']}: {document['enclosure']}")
    return 0


@app.command("enclose", epilog="Example: imgkit case enclose acquisition-report.pdf --exhibit EX1")
def enclose_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Report, photograph, letter; it is copied.")],
    description: Annotated[str | None, _text("--description", "What it is.")] = None,
    exhibit: AboutOption = None,
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Copy a file into the case and record its digest."""
    from imgkit.examination.casework import enclose

    with options.open_examination(case, examiner) as examination:
        document = enclose(examination, file, description, exhibit)
    _show(document, as_json, f"line {document['line']}: {document['enclosure']}")
    return 0


@app.command("correct", epilog="Example: imgkit case correct 3 data.description 'desk 5' --why 'misread'")
def correct_(
    line: Annotated[int, typer.Argument(metavar="LINE", help="Line of the log.")],
    field: Annotated[str, typer.Argument(metavar="FIELD", help="Dotted: data.description.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="What it should say.")],
    why: Annotated[
        str, typer.Option("--why", metavar="TEXT", help="Reason of the correction.", show_default=False)
    ],
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Record that a field of an earlier line should read otherwise; nothing is edited."""
    from imgkit.examination.casework import correct

    if not why.strip():
        raise UsageError("a correction needs a reason")
    with options.open_examination(case, examiner) as examination:
        document = correct(examination, line, field, value, why)
    _show(document, as_json, f"line {document['correction']} corrects line {line}: {field}")
    return 0


@app.command("show", epilog="Example: imgkit case show cases/2026-0142")
def show(
    folder: options.LogArgument = None,
    case: options.ReadCaseOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Show the case: its exhibits, their digests and verdicts. Records nothing."""
    from imgkit.custody.reading import read_records
    from imgkit.examination.cases import identity_in
    from imgkit.examination.casework import show_case

    chosen = options.chosen_log(folder or case)
    document = show_case(chosen.log, read_records(chosen.log, identity=identity_in(chosen.folder)))
    if as_json:
        emit(document)
        return 0
    facts = [(key, _fact(value)) for key, value in sorted(document["case"].items())]
    opened = (
        f"{local_time(document['opened'])} by {document['opened_by']['name']} <{document['opened_by']['id']}>"
    )
    table(
        ("fact", "value"),
        [
            ("log", document["log"]),
            ("uuid", document["uuid"]),
            ("opened", opened),
            ("lines", str(document["lines"])),
            *_closed_rows(document),
            *facts,
            *_corrected_rows(document, None),
        ],
        narrow=say_fact,
    )
    for item in document["exhibits"]:
        say()
        table(
            (item["exhibit"], f"added at line {item['line']}"),
            [*_exhibit_rows(item), *_corrected_rows(document, item["exhibit"])],
            narrow=say_fact,
            narrow_headers=True,
        )
    for item in document["attachments"]:
        say()
        say(
            f"{item['device']}: attached at line {item['line']} by {printable(item['by']['name'])}, {item['exhibit']}"
        )
    return 0


def _closed_rows(document: Document) -> Iterator[tuple[str, str]]:
    if document["sealed"] is not None:
        yield "sealed", f"at line {document['sealed']}"
    for item in document["reviews"]:
        yield (
            "reviewed",
            f"lines {item['first']} to {item['last']}, by {item['by']['name']} at line {item['line']}",
        )


def _corrected_rows(document: Document, exhibit: str | None) -> Iterator[tuple[str, str]]:
    for item in document["corrections"]:
        if item["exhibit"] == exhibit:
            told = (
                f"{item['field']} of line {item['of']} is {item['now']!r}, not {item['was']!r}: {item['why']}"
            )
            yield "corrected", f"{told} ({item['by']['name']}, line {item['line']})"


def _fact(value: object) -> str:
    """A fact of line 1 in words; a policy is several."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in sorted(value.items()))
    return str(value)


def _exhibit_rows(item: Document) -> Iterator[tuple[str, str]]:
    if item["description"]:
        yield "description", item["description"]
    yield (
        "image",
        f"{item['format']}, {item['size']} bytes ({human(item['size'] or 0)})"
        + (f", {item['segments']} files" if item["segments"] != 1 else ""),
    )
    if item["copy_of"]:
        yield "copy of", item["copy_of"]
    if item["copies"]:
        yield "copies", ", ".join(item["copies"])
    yield from _possession_rows(item["possession"])
    for path in item["paths"]:
        yield "path", path
    for digest in item["stated"]:
        yield "stated", digest
    first = {(own["of"], own["digest"]): own for own in reversed(item["own"])}
    for own in sorted(first.values(), key=lambda own: own["line"]):
        yield f"line {own['line']}", f"{own['of']} {own['digest']}"
    verdict = handover.VERDICTS.get(item["verdict"], item["verdict"])
    yield "verified", f"{verdict} (line {item['verdict_line']})" if verdict else "never"


def _possession_rows(held: Document | None) -> Iterator[tuple[str, str]]:
    if held is None:
        return
    yield "custody", held["told"]
    for who in held["authorised"]:
        yield "authorised", f"{who['name']} <{who['id']}>"
    if held["place"]:
        yield "place", held["place"]
    if held["seals"]:
        yield "seals", ", ".join(held["seals"])


def _show(document: Document, as_json: bool, text: str) -> None:
    if as_json:
        emit(document)
    else:
        say(text)


for _name, (_function, _example) in {**handover.COMMANDS, **closing.COMMANDS}.items():
    app.command(_name, epilog=f"Example: {_example}")(_function)
app.command("report", epilog="Example: imgkit case report cases/2026-0142 -o 2026-0142.html")(report)
