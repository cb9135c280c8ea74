"""log checkpoint: what the log is now, signed, for others to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgkit.cli import options
from imgkit.cli.output import emit, say

if TYPE_CHECKING:
    from imgkit.custody.checkpoints import Made
    from imgkit.examination import Examination

Document = dict[str, Any]

SignerOption = Annotated[
    str | None,
    typer.Option(
        "--signer",
        metavar="[PRINCIPAL=]KEY",
        help="SSH key that signs: private, public with an agent, or certificate; - for unsigned.",
        show_default=False,
    ),
]


def checkpoint(
    log: options.LogArgument = None,
    reason: options.ReasonOption = None,
    signer: SignerOption = None,
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Sign what the log is now; the receipt line it prints is for somebody else to keep."""
    with options.open_examination(log or case, examiner) as examination:
        made = examination.checkpoint(reason or "checkpoint", signer=signer)
        document = checkpoint_document(examination, made)
    if as_json:
        emit(document)
    else:
        _say(made)
    return 0


def checkpoint_document(examination: Examination, made: Made) -> Document:
    """What other commands show of a checkpoint, too."""
    point = made.checkpoint
    return {
        "schema": "imgkit.log.checkpoint.v1",
        "n": point.n,
        "log": point.log,
        "size": point.size,
        "bytes": point.bytes,
        "head": point.head,
        "file": point.file,
        "merkle": point.merkle,
        "prev": point.prev,
        "time": point.time,
        "reason": point.reason,
        "signer": point.signer if made.signed else None,
        "fingerprint": made.fingerprint,
        "signed": made.signed,
        "files": list(made.files),
        "line": made.line,
        "receipt": str(point.receipt),
        "notices": list(made.notices),
        "records": examination.records,
    }


def _say(made: Made) -> None:
    point = made.checkpoint
    say(f"checkpoint  {point.n}, recorded at line {made.line}")
    say(f"lines       1 to {point.size}, {point.bytes} bytes")
    say(f"head        {point.head}")
    say(f"signed by   {point.signer}, {made.fingerprint}" if made.signed else "signed by   nobody: UNSIGNED")
    say(f"receipt     {point.receipt}")
