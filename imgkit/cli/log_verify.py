"""log verify: the findings, what vouches for which lines, and what is not shown."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgkit.cli import options
from imgkit.cli.log_evidence import evidence_document, held_against, say_evidence
from imgkit.cli.output import emit, notice, say
from imgkit.custody.record import printable

if TYPE_CHECKING:
    from imgkit.custody.state import StateFolder
    from imgkit.custody.verify import Covered, Verification

Document = dict[str, Any]

_SHOWN = 100  # ranges of lines; the document has all

SignersOption = Annotated[
    str | None,
    typer.Option(
        "--signers",
        metavar="FILE",
        help="Whose signatures you trust: allowed_signers, as ssh-keygen reads it.",
        show_default=False,
    ),
]
RevokedOption = Annotated[
    str | None,
    typer.Option(
        "--revoked", metavar="FILE", help="Keys no longer trusted: a KRL, or public keys.", show_default=False
    ),
]
RootsOption = Annotated[
    str | None,
    typer.Option(
        "--tsa-roots",
        metavar="FILE",
        help="Certificates (PEM) of the time stamp authorities you trust.",
        show_default=False,
    ),
]
ReceiptOption = Annotated[
    list[str] | None,
    typer.Option(
        "--receipt",
        metavar="TEXT|FILE",
        help="A receipt that somebody else held; may be repeated.",
        show_default=False,
    ),
]
EvidenceOption = Annotated[
    str | None,
    typer.Option(
        "--evidence",
        metavar="DIR",
        help="Hash the images there too: known by size and digest.",
        show_default=False,
    ),
]


def verify(
    log: options.LogArgument = None,
    case: options.ReadCaseOption = None,
    signers: SignersOption = None,
    revoked: RevokedOption = None,
    tsa_roots: RootsOption = None,
    receipt: ReceiptOption = None,
    evidence: EvidenceOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Check the log line by line, its signatures, time stamps and receipts; exit 1 if it is not what it says.

    Writes nothing, works on a copy too. Bring lists, certificates and receipts of your own: what lies in the folder cannot
    vouch for itself.
    """
    from imgkit.custody.verify import verify_log
    from imgkit.examination.cases import verifying_in

    chosen = options.chosen_log(log or case)
    memory = _memory()
    with verifying_in(chosen.folder):
        found = verify_log(
            chosen.log,
            state=memory,
            signers=signers,
            revoked=revoked,
            tsa_roots=tsa_roots,
            receipts=receipt or (),
        )
    held = held_against(chosen, evidence, found) if evidence is not None else None
    if as_json:
        emit(_document(found) | ({"evidence": evidence_document(held)} if evidence is not None else {}))
    else:
        _print(found)
        if evidence is not None:
            say_evidence(held)
    return 1 if held is not None and held.failed else found.exit_code


def _memory() -> StateFolder | None:
    from imgkit.errors import HostError
    from imgkit.examination.presence import memory_of

    try:
        return memory_of(os.environ)
    except HostError as error:
        notice(f"this host's memory cannot be asked: {error.message}")
        return None


def _document(found: Verification) -> Document:
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
        "coverage": [_range(one) for one in found.coverage],
        "proved": list(found.proved),
        "not_proved": list(found.not_proved),
    }


def _range(one: Covered) -> Document:
    return {
        "first": one.first,
        "last": one.last,
        "signed_by": list(one.signed_by),
        "stamped": list(one.stamped),
        "receipts": list(one.receipts),
        "memory": one.memory,
    }


def _print(found: Verification) -> None:
    say(f"log    {found.log or 'unknown'}")
    say(f"lines  {found.lines}, {found.bytes} bytes")
    say(f"head   {found.head}")
    for item in found.findings:
        where = f"line {item.line}: " if item.line is not None else ""
        say(f"{item.severity:4}  {item.code}: {where}{printable(item.message)}")
    ranges = [str(one) for one in found.coverage[:_SHOWN]]
    if len(found.coverage) > _SHOWN:
        ranges.append(f"and {len(found.coverage) - _SHOWN:,} more ranges: --json has them")
    parts = (("coverage:", ranges), ("shown:", found.proved), ("not shown:", found.not_proved))
    for title, sentences in parts:
        if sentences:
            say(title)
            for sentence in sentences:
                say(f"  {printable(sentence)}", hang=4)
    say(f"verdict: {_verdict(found)}")


def _verdict(found: Verification) -> str:
    if found.failed:
        return "FAILED"
    return "in order" if found.ok else "cannot tell: written by a newer imgkit"
