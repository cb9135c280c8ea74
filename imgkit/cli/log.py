"""log: show, verify, sign, and accept a rollback."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgkit.cli import options
from imgkit.cli.checkpoint import checkpoint
from imgkit.cli.compare import compare
from imgkit.cli.output import emit, notice, say, table
from imgkit.cli.times import local_time
from imgkit.custody.record import printable
from imgkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.custody.verify import Verification

Document = dict[str, Any]

app = typer.Typer(help="The custody log: show it, verify it, sign it.", no_args_is_help=True)

app.command("checkpoint", epilog="Example: imgkit log checkpoint --signer ~/.ssh/id_ed25519")(checkpoint)
app.command("compare", epilog="Example: imgkit log compare cases/2026-0142 /media/usb/custody.jsonl")(compare)

LogArgument = Annotated[
    str | None, typer.Argument(metavar="CASE", help="Case folder or log file.", show_default=False)
]


@app.command("show", epilog="Example: imgkit log show cases/2026-0142")
def show(
    log: LogArgument = None,
    case: options.CaseOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Show the records, one a line."""
    from imgkit.custody.reading import read_records
    from imgkit.examination.cases import identity_in

    chosen = options.chosen_log(log or case)
    records = list(read_records(chosen.log, identity=identity_in(chosen.folder)))
    if as_json:
        emit({"schema": "imgkit.log.show.v1", "log": chosen.log, "lines": len(records), "entries": records})
        return 0
    rows = [_row(number, record) for number, record in enumerate(records, start=1)]
    table(("line", "time", "by", "exhibit", "what", "told"), rows, right=(0,), narrow=_say_record)
    return 0


def _say_record(row: Sequence[str]) -> None:
    line, time, who, exhibit, what, told = row
    say(f"{line:>4}  {time}  {who}" + (f"  {exhibit}" if exhibit else ""), hang=6)
    say(f"      {what}" + (f": {told}" if told else ""))


def _row(number: int, record: Document) -> tuple[str, ...]:
    from imgkit.custody.record import is_newer, validate

    if not is_newer(record) and (wrong := validate(record)):
        return (str(number), "", "", "", "no record of imgkit", wrong[0])
    return (
        str(record["seq"]),
        local_time(record["time"]),
        record["actor"]["name"],
        record.get("exhibit", ""),
        record["type"] + (f" {record['phase']}" if record["phase"] != "event" else ""),
        _told(record),
    )


def _told(record: Document) -> str:
    """A few words of a record; `--json` has all of it."""
    data, words = record["data"], []
    if "result" in record and record["result"] != "ok":
        words.append(record["result"].upper())
    if record.get("late"):
        words.append("(late)")
    words += [
        f"{key} {data[key]}"
        for key in ("verdict", "of", "scheme", "device", "target", "number", "why")
        if key in data
    ]
    digests = data.get("digests")
    if isinstance(digests, dict):
        words += [f"{name} {str(value)[:16]}" for name, value in sorted(digests.items())]
    if "error" in record:
        words.append(record["error"].get("text") or record["error"].get("class", "error"))
    if "reason" in record:
        words.append(f"reason: {record['reason']}")
    return ", ".join(str(word) for word in words)


@app.command("verify", epilog="Example: imgkit log verify cases/2026-0142")
def verify(
    log: LogArgument = None,
    case: options.CaseOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Check the log line by line; exit 1 if it is not what it says. Writes nothing, works on a copy too."""
    from imgkit.custody.verify import verify_log
    from imgkit.errors import HostError
    from imgkit.examination.cases import acting_in
    from imgkit.examination.presence import memory_of

    chosen = options.chosen_log(log or case)
    try:
        memory = memory_of(os.environ)
    except HostError as error:
        notice(f"this host's memory cannot be asked: {error.message}")
        memory = None
    with acting_in(chosen.folder):
        found = verify_log(chosen.log, state=memory)
    if as_json:
        emit(_verification_document(found))
    else:
        _print_verification(found)
    return found.exit_code


def _verification_document(found: Verification) -> Document:
    return {
        "schema": "imgkit.log.verify.v1",
        "path": found.path,
        "log": found.log,
        "lines": found.lines,
        "bytes": found.bytes,
        "head": found.head,
        "first": found.first,
        "last": found.last,
        "ok": found.ok,
        "newer": found.newer,
        "findings": [
            {"code": item.code, "severity": str(item.severity), "line": item.line, "message": item.message}
            for item in found.findings
        ],
        "counts": dict(found.counts),
        "proved": list(found.proved),
        "not_proved": list(found.not_proved),
    }


def _print_verification(found: Verification) -> None:
    say(f"log    {found.log or 'unknown'}")
    say(f"lines  {found.lines}, {found.bytes} bytes")
    say(f"head   {found.head}")
    for item in found.findings:
        where = f"line {item.line}: " if item.line is not None else ""
        say(f"{item.severity:4}  {item.code}: {where}{printable(item.message)}")
    for title, sentences in (("shown:", found.proved), ("not shown:", found.not_proved)):
        if sentences:
            say(title)
            for sentence in sentences:
                say(f"  {printable(sentence)}")
    verdict = (
        "in order" if found.ok else "FAILED" if found.failed else "cannot tell: written by a newer imgkit"
    )
    say(f"verdict: {verdict}")


@app.command("accept-rollback", epilog="Example: imgkit log accept-rollback --reason 'restored from backup'")
def accept_rollback(
    log: LogArgument = None,
    reason: Annotated[
        str | None,
        typer.Option("--reason", metavar="TEXT", help="Why the log is shorter or other.", show_default=False),
    ] = None,
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Go on with a log that is not what this host remembers; recorded, with what was remembered."""
    from imgkit.custody.log import CustodyLog
    from imgkit.examination.cases import identity_in
    from imgkit.examination.presence import be_present

    if not (reason or "").strip():
        raise UsageError("say why with --reason")
    chosen = options.chosen_log(log or case)
    presence = be_present(examiner=examiner, argv=None, ask=options.asker())
    with presence.session:
        opened = CustodyLog.open(chosen.log, presence.session, identity=identity_in(chosen.folder))
        line = opened.accept_rollback(str(reason))
    if as_json:
        emit(
            {"schema": "imgkit.log.accept-rollback.v1", "records": {"log": opened.uuid, "seq": [line, line]}}
        )
    else:
        say(f"line {line} of {printable(chosen.log)}: accepted")
    return 0
