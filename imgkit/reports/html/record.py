"""The record: whose hands the evidence was in, what stands behind the lines, and every act in the order of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.reports.html.markup import Markup, digest, el, facts, folded, join, said, table, text
from imgkit.reports.html.pieces import corrections, line_link, when
from imgkit.reports.telling import told
from imgkit.reports.wording import is_digest, severity_rank, stamp, title

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgkit.reports.view import Act, CaseView, Session

CHUNK = 250  # acts of a fold: what is not on the screen is not laid out
_RESULTS = {"ok": "good", "failed": "bad", "interrupted": "bad", "unknown": "warn", "open": "warn"}
_STATIONS = (
    "evidence.added",
    "custody.",
    "case.sealed",
    "case.reopened",
    "case.opened",
    "evidence.changed",
    "receipt.",
)


def time_line(case: CaseView) -> Markup:
    """The stations of the evidence: added, handed over, received, stored, sealed."""
    stations = [act for act in case.acts if act.type.startswith(_STATIONS) and act.result != "failed"]
    entries = (
        el(
            "li",
            when(act.when),
            el("b", title(act)),
            Markup(" "),
            said(", ".join(act.exhibits)),
            Markup(" "),
            line_link(act.line),
            el("div", *_hands(act)),
            corrections(act.corrections),
        )
        for act in stations
    )
    return el("ol", *entries, cls="time") if stations else Markup("")


def _hands(act: Act) -> Iterator[Markup]:
    """Who, and for a custody event between whom and how."""
    yield join(("by ", said(str(act.actor))))
    if act.type.startswith(("custody.", "receipt.", "case.sealed", "case.reopened")):
        yield facts((name, _value(value)) for name, value in told(act))


def coverage(case: CaseView) -> Markup:
    """Line range by line range: which signature, stamp, receipt or memory stands behind it."""
    rows = [
        (
            f"{one.first:,} to {one.last:,}" if one.last > one.first else f"{one.last:,}",
            *(said(word) if word else el("b", "none", cls="v warn") for word in _behind(one)),
        )
        for one in case.coverage
    ]
    headers = (
        "Lines",
        "Signed by",
        "Time stamp",
        "Receipt held by others",
        "Memory of the host that verified",
    )
    return table("What stands behind the lines", headers, rows)


def _behind(one: object) -> list[str]:
    return [str(getattr(one, key)) for key in ("signed_by", "stamped", "receipts", "memory")]


def checkpoints(case: CaseView) -> Markup:
    """Checkpoints as the log records them, and the stamps and receipts beside them."""
    rows = (
        (
            str(one.n or ""),
            f"1 to {one.size:,}",
            digest(one.head),
            join((said(one.signer), Markup("<br>"), said(one.fingerprint)))
            if one.signer
            else el("b", "unsigned", cls="v warn"),
            said(one.reason),
            join((when(one.act.when), Markup(" "), line_link(one.line))),
        )
        for one in case.checkpoints
    )
    found = table(
        "Checkpoints, as the log records them",
        ("No.", "Lines", "Head", "Signed by, as recorded", "Reason", "When"),
        rows,
        right=(0,),
    )
    return join((found, _further("Time stamps", case.stamps), _further("Receipts", case.receipts)))


def reviews(case: CaseView) -> Markup:
    """Who looked at the record a second time."""
    return _further("Reviews", case.reviews)


def _further(caption: str, acts: Sequence[Act]) -> Markup:
    rows = (
        (
            title(act),
            _told(act),
            join((said(act.actor.name), ", ", when(act.when), " ", line_link(act.line))),
        )
        for act in acts
    )
    return table(caption, ("What", "Details", "By"), rows)


def findings(case: CaseView) -> Markup:
    """What the verifier found, failures first."""
    found = sorted(case.findings, key=severity_rank)
    rows = (
        (
            el("b", str(one.severity), cls=f"v {('bad', 'warn', 'info', 'info')[severity_rank(one)]}"),
            el("code", one.code),
            text(f"{one.line:,}") if one.line is not None else "",
            said(one.message),
        )
        for one in found
    )
    return table("Findings of the verifier", ("Severity", "Code", "Line", "Finding"), rows, right=(2,))


def sentences(heading: str, found: Sequence[str]) -> Markup:
    """What is proved, or not."""
    return (
        el("div", el("h3", heading), el("ul", *(el("li", said(one)) for one in found)))
        if found
        else Markup("")
    )


def people(case: CaseView) -> Markup:
    """Who acted."""
    rows = ((said(one.name), said(one.id), said(one.role), said(one.org)) for one in case.people)
    return table("People, as stated in the records", ("Name", "Id", "Role", "Organisation"), rows)


def tools(case: CaseView) -> Markup:
    """With what: runs that had the same tool, libraries and host are one row."""
    same: dict[tuple[str, ...], list[Session]] = {}
    for one in case.sessions:
        libraries = ", ".join(f"{name} {version}" for name, version in one.libraries)
        same.setdefault(
            (one.tool, one.record_sha256, one.python, one.kernel, libraries, one.host), []
        ).append(one)
    rows = (
        (
            said(key[0] or "not described"),
            digest(key[1]) if key[1] else "",
            said(f"Python {key[2]}, Linux {key[3]}" if key[2] or key[3] else ""),
            said(key[4]),
            said(key[5]),
            f"{len(runs):,}, the first from line {runs[0].line:,}"
            if runs[1:]
            else f"1, from line {runs[0].line:,}",
        )
        for key, runs in same.items()
    )
    headers = ("Tool", "SHA-256 of its file list", "On", "Libraries", "Host", "Runs")
    return table("Tools, as they described themselves", headers, rows)


def record(case: CaseView) -> Markup:
    """Every act in the order of the log."""
    return join(
        folded(_lines(case.acts[at : at + CHUNK]), _acts(case.acts[at : at + CHUNK]), cls="chunk")
        for at in range(0, len(case.acts), CHUNK)
    )


def _lines(acts: Sequence[Act]) -> str:
    return f"Acts that begin at lines {acts[0].line:,} to {acts[-1].line:,}"


def _acts(acts: Sequence[Act]) -> Markup:
    head = el("tr", *(el("th", name, scope="col") for name in ("Line", "Time", "What", "By", "Details")))
    return el("table", el("thead", head), el("tbody", *(_act(act) for act in acts)), cls="acts")


def _act(act: Act) -> Markup:
    ended = [", ", el("span", str(act.ended_line), id=f"l{act.ended_line}")] if act.ended_line else []
    return el(
        "tr",
        el("td", str(act.line), *ended, cls="r"),
        el("td", when(act.when), *_clock(act)),
        el("td", el("b", title(act)), Markup(" "), said(", ".join(act.exhibits)), *_result(act)),
        el("td", said(act.actor.name)),
        el("td", _told(act), corrections(act.corrections)),
        id=f"l{act.line}",
    )


def _clock(act: Act) -> Iterator[Markup]:
    if act.time.sync not in ("", "ok"):
        yield el("small", " clock not synchronised")
    if act.late:
        yield el("small", f" recorded late, {stamp(act.written)}")


def _result(act: Act) -> Iterator[Markup]:
    if act.result and act.result != "ok":
        words = {"open": "no outcome"}.get(act.result, act.result)
        yield join((Markup(" "), el("b", words, cls=f"v {_RESULTS.get(act.result, 'warn')}")))
    if act.reconciled:
        yield join((Markup(" "), text("explained at "), *(line_link(line) for line in act.reconciled)))


def _told(act: Act) -> Markup:
    return join(
        el(
            "span",
            el("span", f"{name} ", cls="q"),
            digest(value) if is_digest(value) else said(value),
            cls="f",
        )
        for name, value in told(act)
    )


def _value(value: str) -> Markup:
    return digest(value) if is_digest(value) else said(value)
