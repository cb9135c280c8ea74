"""log: show, verify, sign, date, give receipts, and accept a rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgkit.cli import options
from imgkit.cli.checkpoint import checkpoint
from imgkit.cli.compare import compare
from imgkit.cli.disclose import disclose
from imgkit.cli.log_verify import verify
from imgkit.cli.output import emit, say, table
from imgkit.cli.receipt import receipt
from imgkit.cli.times import local_time
from imgkit.cli.timestamp import timestamp
from imgkit.custody.record import printable
from imgkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

Document = dict[str, Any]

app = typer.Typer(help="The custody log: show it, verify it, sign and date it.", no_args_is_help=True)

app.command("checkpoint", epilog="Example: imgkit log checkpoint --signer ~/.ssh/id_ed25519")(checkpoint)
app.command("compare", epilog="Example: imgkit log compare cases/2026-0142 /media/usb/custody.jsonl")(compare)
app.command("disclose", epilog="Example: imgkit log disclose --exhibit EX1 -o for-the-defence")(disclose)
app.command("receipt", epilog="Example: imgkit log receipt --to 'Defence, Mr Roe' --svg receipt.svg")(receipt)
app.command("timestamp", epilog="Example: imgkit log timestamp --url http://tsa.example/tsr")(timestamp)
app.command("verify", epilog="Example: imgkit log verify cases/2026-0142 --signers my_signers")(verify)


@app.command("show", epilog="Example: imgkit log show cases/2026-0142")
def show(
    log: options.LogArgument = None,
    case: options.ReadCaseOption = None,
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
    from imgkit.custody.schema import is_newer, validate

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


@app.command("accept-rollback", epilog="Example: imgkit log accept-rollback --reason 'restored from backup'")
def accept_rollback(
    log: options.LogArgument = None,
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
