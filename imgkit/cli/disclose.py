"""log disclose: chosen lines for somebody who is not to see the others, and the check of what was received."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgkit.cli import options
from imgkit.cli.output import emit, notice, ranges, say
from imgkit.custody.record import path_fields, printable
from imgkit.errors import UsageError

if TYPE_CHECKING:
    from imgkit.custody.disclosed import DisclosureCheck

Document = dict[str, Any]


def disclose(
    log: options.LogArgument = None,
    exhibit: Annotated[
        str | None,
        typer.Option("--exhibit", metavar="EX1", help="All lines of this exhibit.", show_default=False),
    ] = None,
    line: Annotated[
        list[int] | None,
        typer.Option("--line", metavar="N", help="This line too; may be repeated.", show_default=False),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FOLDER", help="New folder for them.", show_default=False),
    ] = None,
    check: Annotated[
        str | None,
        typer.Option("--check", metavar="FOLDER", help="Check what was received.", show_default=False),
    ] = None,
    signers: Annotated[
        str | None,
        typer.Option(
            "--signers", metavar="FILE", help="With --check: allowed_signers of your own.", show_default=False
        ),
    ] = None,
    revoked: Annotated[
        str | None,
        typer.Option(
            "--revoked", metavar="FILE", help="With --check: keys no longer trusted.", show_default=False
        ),
    ] = None,
    tsa_roots: Annotated[
        str | None,
        typer.Option(
            "--tsa-roots",
            metavar="FILE",
            help="With --check: whose time stamps are trusted.",
            show_default=False,
        ),
    ] = None,
    case: options.ReadCaseOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Hand over chosen lines, provable without the others; or check such a folder. Writes nothing into the case."""
    trust = {"signers": signers, "revoked": revoked, "tsa_roots": tsa_roots}
    if check is not None:
        if any(value is not None for value in (log, exhibit, line, output, case)):
            raise UsageError("--check takes --signers, --revoked and --tsa-roots, nothing else")
        return _check(check, trust, as_json=as_json)
    if any(trust.values()):
        raise UsageError("--signers, --revoked and --tsa-roots go with --check")
    if not output:
        raise UsageError("no folder for the lines", hint="-o FOLDER")
    return _disclose(log or case, exhibit, line or [], output, as_json=as_json)


def _disclose(case: str | None, exhibit: str | None, lines: list[int], output: str, *, as_json: bool) -> int:
    from imgkit.custody import disclose as custody
    from imgkit.examination.cases import acting_in

    chosen, folder = options.chosen_log(case), os.path.abspath(output)
    with acting_in(chosen.folder):
        made = custody.disclose(chosen.log, exhibit=exhibit, numbers=lines)
    with acting_in(os.path.dirname(folder)):
        files = custody.write_disclosure(made, folder)
    for text in made.notices:
        notice(text)
    if as_json:
        emit(
            {
                "schema": "imgkit.log.disclose.v1",
                **path_fields(folder, key="folder"),
                "log": made.log,
                "lines": list(made.lines),
                "sha256": custody.lines_digest(made),
                "checkpoint": {"n": made.checkpoint.n, "size": made.checkpoint.size, "signed": made.signed},
                "files": [path_fields(path) for path in files],
                "notices": list(made.notices),
            }
        )
    else:
        say(f"{len(made.lines)} of {made.checkpoint.size} lines, by checkpoint {made.checkpoint.n}")
        say(f"in {folder}: sh check.sh checks them with stock tools")
    return 0


def _check(folder: str, trust: dict[str, str | None], *, as_json: bool) -> int:
    from imgkit.custody.disclosed import check_disclosure

    found = check_disclosure(folder, **trust)
    if as_json:
        emit(_document(found))
    else:
        _say(found)
    return 1 if found.failed else 0


def _document(found: DisclosureCheck) -> Document:
    point, signature = found.checkpoint, found.signature
    return {
        "schema": "imgkit.log.disclose-check.v1",
        **path_fields(found.folder, key="folder"),
        "log": point.log,
        "case": point.case,
        "checkpoint": {"n": point.n, "size": point.size, "time": point.time, "signer": point.signer},
        "signature": {"status": signature.status, "fingerprint": signature.fingerprint}
        if signature
        else None,
        "stamps": [{"file": name, "time": time, "trusted": trusted} for name, time, trusted in found.stamps],
        "disclosed": found.count,
        "lines": list(found.lines),
        "findings": [
            {
                "code": item.code,
                "severity": "FAIL" if item.failed else "WARN",
                "line": item.line,
                "message": item.message,
            }
            for item in found.findings
        ],
        "ok": not found.failed,
    }


def _say(found: DisclosureCheck) -> None:
    point = found.checkpoint
    say(f"log         {point.log}, case {printable(point.case)}")
    say(f"checkpoint  {point.n} of {point.size} lines, {point.time}, by {printable(point.signer)}")
    for name, time, trusted in found.stamps:
        say(f"stamp       {time} ({name})" + ("" if trusted else ": nobody vouches for the authority"))
    for item in found.findings:
        where = f"line {item.line}: " if item.line is not None else ""
        say(f"{'FAIL' if item.failed else 'WARN'}  {item.code}: {where}{printable(item.message)}")
    say(f"lines       {ranges(found.lines) or 'none'}")
    vouched = found.signature is not None and found.signature.status == "trusted"
    good = "in order" if vouched else "in order, but nobody vouches for the checkpoint"
    say(f"verdict: {'FAILED' if found.failed else good}")
