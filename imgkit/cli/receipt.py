"""log receipt: one line for somebody else to keep, as text, as a code to scan, as a picture; and theirs, kept here."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgkit.cli import options
from imgkit.cli.checkpoint import SignerOption
from imgkit.cli.output import columns, emit, is_terminal, notice, say, say_bytes
from imgkit.errors import CustodyError, UsageError

if TYPE_CHECKING:
    from imgkit.custody.receipts import Given, Taken
    from imgkit.examination import Examination

Document = dict[str, Any]
SCHEMA = "imgkit.log.receipt.v1"
_BORDER = 2  # light modules around: scanners ask for some
_COLOURS = ("\x1b[97;40m", "\x1b[0m")  # white on black, whatever the terminal's own colours are


def receipt(
    log: options.LogArgument = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="NAME", help="Who gets it; recorded.", show_default=False)
    ] = None,
    svg: Annotated[
        str | None,
        typer.Option("--svg", metavar="FILE", help="Also as a picture to scan.", show_default=False),
    ] = None,
    no_qr: Annotated[bool, typer.Option("--no-qr", help="No code to scan on the terminal.")] = False,
    take: Annotated[
        str | None,
        typer.Option("--take", metavar="TEXT|FILE", help="Keep another party's receipt.", show_default=False),
    ] = None,
    sender: Annotated[
        str | None, typer.Option("--from", metavar="NAME", help="Whose it is; recorded.", show_default=False)
    ] = None,
    signer: SignerOption = None,
    reason: options.ReasonOption = None,
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Give a receipt of the log for somebody else to keep: a log that was cut or rewritten no longer fits it."""
    _check(take, sender, to, svg)
    with options.open_examination(log or case, examiner, reason=reason) as examination:
        if take is not None:
            return _take(examination, take, sender, as_json=as_json)
        document, line = _give(examination, to, svg, signer)
    if as_json:
        emit(document)
        return 0
    say_bytes(line)
    if not no_qr and is_terminal():
        _show(line)
    return 0


def _check(take: str | None, sender: str | None, to: str | None, svg: str | None) -> None:
    if take is not None and (to is not None or svg is not None):
        raise UsageError("--take keeps another party's receipt; --to and --svg are for one that is given")
    if take is None and sender is not None:
        raise UsageError("--from names whose receipt --take keeps")
    if svg is not None and os.path.lexists(svg):
        raise CustodyError(f"{svg!r} is there already and is not overwritten")


def _give(
    examination: Examination, to: str | None, svg: str | None, signer: str | None
) -> tuple[Document, str]:
    from imgkit.examination.stamping import give_receipt, write_new_for

    given, made = give_receipt(examination, to=to, signer=signer)
    line = str(given.receipt)
    if svg is not None:
        write_new_for(examination, svg, _picture(line))
    document = _document(examination, given, kind="given") | {"to": to, "svg": svg}
    return document | {"checkpoint": made.checkpoint.n if made is not None else None}, line


def _take(examination: Examination, text: str, sender: str | None, *, as_json: bool) -> int:
    from imgkit.examination.stamping import take_receipt

    taken = take_receipt(examination, text, sender=sender)
    if as_json:
        emit(_document(examination, taken, kind="taken") | {"from": sender})
        return 0
    say(f"taken       {taken.receipt.log}, lines 1 to {taken.receipt.size}")
    say(f"kept        {taken.path}, recorded at line {taken.line}")
    return 0


def _document(examination: Examination, kept: Given | Taken, *, kind: str) -> Document:
    receipt = kept.receipt
    return {
        "schema": SCHEMA,
        "kind": kind,
        "receipt": str(receipt),
        "log": receipt.log,
        "size": receipt.size,
        "bytes": receipt.bytes,
        "head": receipt.head,
        "file": receipt.file,
        "path": kept.path,
        "line": kept.line,
        "notices": list(kept.notices),
        "records": examination.records,
    }


def _show(line: str) -> None:
    """The code on the terminal, where it fits."""
    import segno

    text = io.StringIO()
    segno.make_qr(line, error="l").terminal(text, border=_BORDER, compact=True)
    rows = text.getvalue().splitlines()
    if max(len(row) for row in rows) > columns():
        notice("the terminal is too narrow for the code: --svg FILE")
        return
    before, after = _COLOURS if "NO_COLOR" not in os.environ else ("", "")
    for row in rows:
        sys.stdout.write(f"{before}{row}{after}\n")


def _picture(line: str) -> bytes:
    """The code as SVG, with the line in it as text for whoever has no scanner; the same bytes each time."""
    import segno

    out = io.BytesIO()
    segno.make_qr(line, error="m").save(
        out, kind="svg", scale=4, border=4, light="white", title="imgkit receipt", desc=line
    )
    return out.getvalue()
