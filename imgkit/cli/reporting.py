"""case report: the case in the forms that courts, laboratories and other tools take."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgkit.cli import options
from imgkit.cli.log_verify import ReceiptOption, RevokedOption, RootsOption, SignersOption
from imgkit.cli.output import emit, notice, say
from imgkit.custody.record import printable
from imgkit.reports import REPORTS

if TYPE_CHECKING:
    from imgkit.examination.reporting import Product

Document = dict[str, Any]


def report(
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="A new file.", show_default=False)
    ],
    folder: options.LogArgument = None,
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help=f"{', '.join(REPORTS)}.")] = "html",
    recipient: Annotated[
        str | None,
        typer.Option("--recipient", metavar="TEXT", help="Who gets it; recorded.", show_default=False),
    ] = None,
    no_record: Annotated[
        bool, typer.Option("--no-record", help="Record nothing: of a copy, or a log that cannot be added to.")
    ] = False,
    signers: SignersOption = None,
    revoked: RevokedOption = None,
    tsa_roots: RootsOption = None,
    receipt: ReceiptOption = None,
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Write a report of the whole case, made of the log alone; the log keeps its digest. Exit 1 if the log fails."""
    from imgkit.examination import reporting
    from imgkit.examination.examiner import invoking_user
    from imgkit.reports import report as report_named

    report_named(form)
    chosen = options.chosen_log(folder or case)
    reporting.check_place(output, chosen.folder)
    checks = {
        "state": reporting.memory(os.environ, notice),
        "signers": signers,
        "revoked": revoked,
        "tsa_roots": tsa_roots,
        "receipts": tuple(receipt or ()),
    }
    if no_record:
        product, line, records = reporting.make_report(chosen, form, **checks), None, None
        reporting.save(product, os.path.abspath(output), reporting.identity_of(invoking_user(os.environ)))
    else:
        with options.open_examination(folder or case, examiner, None, reason) as examination:
            product = reporting.make_report(examination.case, form, **checks)
            line = reporting.export(examination, product, output, recipient=recipient)
            records = examination.records
    _show(product, output, line, records, as_json=as_json)
    return {"FAILED": 1, "in order": 0}.get(product.view.verdict, 3)


def _show(
    product: Product, output: str, line: int | None, records: Document | None, *, as_json: bool
) -> None:
    view = product.view
    if as_json:
        emit(
            {
                "schema": "imgkit.case.report.v1",
                "format": product.name,
                "path": os.path.abspath(output),
                "bytes": len(product.content),
                "sha256": product.sha256,
                "log": view.log,
                "lines": [1, view.lines],
                "head": view.head,
                "verdict": view.verdict,
                "line": line,
                "records": records,
            }
        )
        return
    say(
        f"{printable(output)}: {product.name}, {len(product.content)} bytes, lines 1 to {view.lines}, log {view.verdict}"
    )
    say(f"sha256 {product.sha256}" + (f", recorded at line {line}" if line else ", recorded nowhere"))
