"""log timestamp: a checkpoint dated by somebody else, with or without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgkit.cli import options
from imgkit.cli.exit_codes import MISMATCH
from imgkit.cli.log_verify import RootsOption
from imgkit.cli.output import emit, say, tell_error
from imgkit.errors import UsageError

if TYPE_CHECKING:
    from imgkit.custody.recorded import Recorded
    from imgkit.examination import Examination
    from imgkit.examination.stamping import Stamped

Document = dict[str, Any]
SCHEMA = "imgkit.log.timestamp.v1"


UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The authority; else that of imgkit.toml.", show_default=False),
]
RequestOption = Annotated[
    str | None,
    typer.Option(
        "--request",
        metavar="FILE",
        help="Write the query here, for another machine; with --reply: what was asked.",
        show_default=False,
    ),
]
ReplyOption = Annotated[
    str | None,
    typer.Option("--reply", metavar="FILE", help="Take in what an authority replied.", show_default=False),
]
NumberOption = Annotated[
    int | None,
    typer.Option("--checkpoint", metavar="N", help="Which one; else the last.", show_default=False),
]
NameOption = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="What to call the authority's files.", show_default=False),
]


def timestamp(
    log: options.LogArgument = None,
    url: UrlOption = None,
    request: RequestOption = None,
    reply: ReplyOption = None,
    number: NumberOption = None,
    roots: RootsOption = None,
    name: NameOption = None,
    reason: options.ReasonOption = None,
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Have a time-stamp authority date the last checkpoint; it learns one digest and nothing else."""
    from imgkit.examination.stamping import Asking, ask_for_stamp, import_reply, write_query

    if url is not None and (request is not None or reply is not None):
        raise UsageError("--url asks now; --request and --reply are for another machine that asks")
    asking = Asking(url, roots, name)
    with options.open_examination(log or case, examiner, reason=reason) as examination:
        if request is not None and reply is None:
            point, imprint = write_query(examination, request, number=number)
            return _tell_query(examination, point, imprint, request, as_json=as_json)
        if reply is not None:
            stamped = import_reply(examination, reply, asking, query=request, number=number)
        else:
            stamped = ask_for_stamp(examination, asking, number=number)
        document = _document(examination, stamped)
    return _tell(stamped, document, as_json=as_json)


def _tell_query(examination: Examination, point: Recorded, imprint: str, path: str, *, as_json: bool) -> int:
    if as_json:
        told = {"stamped": False, "n": point.n, "query": path, "imprint": imprint}
        emit({"schema": SCHEMA, **told, "records": examination.records})
        return 0
    say(f"query       {path}, for checkpoint {point.n}")
    say(f"digest      {imprint}")
    say(
        f"send it     curl -H Content-Type:application/timestamp-query --data-binary @{path} -o reply.tsr URL"
    )
    say(f"then        imgkit log timestamp --reply reply.tsr --request {path}")
    return 0


def _document(examination: Examination, stamped: Stamped) -> Document:
    facts, point, anchored = stamped.facts, stamped.point, stamped.anchored
    return {
        "schema": SCHEMA,
        "stamped": anchored is not None,
        "n": point.n,
        "size": point.size,
        "bytes": point.bytes,
        "head": point.head,
        "time": facts.time,
        "serial": facts.serial,
        "name": facts.tsa,
        "policy": facts.policy,
        "imprint": facts.imprint,
        "trusted": facts.trusted,
        "problems": [{"kind": one.kind, "message": one.text} for one in facts.problems],
        "tsa": anchored.tsa if anchored else None,
        "file": anchored.path if anchored else None,
        "sha256": anchored.sha256 if anchored else None,
        "line": anchored.line if anchored else None,
        "records": examination.records,
    }


def _tell(stamped: Stamped, document: Document, *, as_json: bool) -> int:
    if as_json:
        emit(document)
    if stamped.anchored is None:
        problem = stamped.facts.problems[0]
        tell_error(f"the time stamp is refused: {problem.text}", _hint(problem.kind))
        return MISMATCH
    if not as_json:
        _say(stamped)
    return 0


def _hint(kind: str) -> str | None:
    return {
        "imprint": "it is for another file, or the checkpoint is not what it was: imgkit log verify",
        "nonce": "the query of each try is another one: take the reply to the query that you name",
        "chain": "name the certificates of this authority with --tsa-roots",
    }.get(kind)


def _say(stamped: Stamped) -> None:
    facts, point, anchored = stamped.facts, stamped.point, stamped.anchored
    assert anchored is not None  # noqa: S101 - asked by the caller; tells the type checker
    say(f"time        {facts.time}, by {facts.tsa or anchored.tsa}")
    say(f"checkpoint  {point.n}, lines 1 to {point.size}")
    say(f"serial      {facts.serial}, policy {facts.policy}")
    if facts.trusted:
        say("trusted     yes: its certificate comes from those you trust")
    else:
        say("trusted     nobody looked: --tsa-roots FILE, or imgkit log verify --tsa-roots FILE later")
    say(f"kept        {anchored.path}, recorded at line {anchored.line}")
