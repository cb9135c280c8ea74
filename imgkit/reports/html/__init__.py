"""html: the case as one page. No script, nothing remote; made to be printed."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, BinaryIO

from imgkit.reports.html import exhibits, pieces, record
from imgkit.reports.html.markup import Markup, digest, el, facts, join, said, section, text
from imgkit.reports.wording import outside, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.reports.view import CaseView

NAME = "html"

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_CONTENTS = {
    "overview": "Overview",
    "findings": "What the verifier found",
    "proof": "What is proved, and what is not",
    "custody": "Time line of custody",
    "exhibits": "Exhibits",
    "behind": "Signatures, time stamps, receipts",
    "notes": "Notes about the case",
    "who": "People and tools",
    "record": "The whole record",
}


def write(case: CaseView, out: BinaryIO) -> None:
    """Write the page: equal bytes of equal views."""
    out.write(_page(case).encode("utf-8"))


def _page(case: CaseView) -> str:
    head = join(
        (
            Markup('<meta charset="utf-8">'),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<meta name="referrer" content="no-referrer">'),
            Markup('<meta name="color-scheme" content="light dark">'),
            Markup(f"<title>Custody report: {text(case.name)}</title>"),
            Markup(f"<style>{_style(case)}</style>"),
        )
    )
    body = join((_header(case), el("main", *_sections(case)), _footer(case)))
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def _style(case: CaseView) -> str:
    """The style sheet, with the foot of the printed pages; only digits and words of ours come into it."""
    style = files("imgkit.reports.html").joinpath("report.css").read_text("ascii")
    log = case.log if _UUID.match(case.log) else "unknown"
    verdict = "" if case.verdict == "in order" else f"; verification: {case.verdict}"
    return style.replace("LOG-LINES", f"log {log}, {case.covered}, head {case.head[:16]}{verdict}")


def _sections(case: CaseView) -> Iterator[Markup]:
    """In the order of a report that is read from its start: findings come first where something failed."""
    made = {
        "overview": join((_banner(case), exhibits.alarms(case), exhibits.overview(case))),
        "findings": join((_unread(case), record.findings(case))),
        "proof": _proof(case),
        "custody": record.time_line(case),
        "exhibits": join(exhibits.exhibit(item, at) for at, item in enumerate(case.exhibits, start=1)),
        "behind": join((record.coverage(case), record.checkpoints(case), record.reviews(case))),
        "notes": pieces.notes(tuple(one for one in case.enclosed if not one.exhibit)),
        "who": join((record.people(case), record.tools(case))),
        "record": join((_how_to_read(), record.record(case))),
    }
    order = list(_CONTENTS)
    if case.verdict != "FAILED":
        order.remove("findings")
        order.insert(order.index("behind"), "findings")
    there = [key for key in order if made[key]]
    yield el("nav", *(el("a", _CONTENTS[key], href=f"#{key}") for key in there), aria_label="Contents")
    for key in there:
        yield section(_CONTENTS[key], key, made[key], cls=key)


def _header(case: CaseView) -> Markup:
    known = dict(case.case)
    names = {
        "number": "Case",
        "agency": "Agency",
        "lead": "Lead",
        "authority": "Authority",
        "policy": "Policy",
    }
    rows = [(names.get(key, key), said(value)) for key, value in case.case if key != "title"]
    if case.opened is not None:
        opened = (text(f"{stamp(case.opened.when)} by "), said(str(case.opened.actor)))
        rows.append(("Opened", join(opened)))
    seals = [act for act in case.acts if act.type in ("case.sealed", "case.reopened")]
    if seals:
        last = (
            text(f"{stamp(seals[-1].when)} by "),
            said(str(seals[-1].actor)),
            " ",
            pieces.line_link(seals[-1].line),
        )
        rows.append(("Sealed" if seals[-1].type == "case.sealed" else "Reopened", join(last)))
    return el(
        "header",
        el("p", "Custody report", cls="kind"),
        el("h1", said(known.get("title") or case.name)),
        facts(rows),
        el("div", facts(_extent(case)), cls="of"),
    )


def _extent(case: CaseView) -> Iterator[tuple[str, Markup]]:
    """Exactly which lines of which log the report is made of."""
    yield (
        "Made of",
        text(f"{case.covered} of the log ({case.bytes:,} bytes) and their enclosures, as they were verified"),
    )
    yield "Log", el("code", said(case.log or "no line states which"))
    yield "Head", digest(case.head)
    if case.first and case.last:
        yield "From, to", text(f"{_second(case.first)}, {_second(case.last)} UTC")


def _second(utc: str) -> str:
    return f"{utc[:10]} {utc[11:19]}"


def _banner(case: CaseView) -> Markup:
    failures = [one for one in case.findings if str(one.severity) == "FAIL"]
    warnings = sum(count for code, count in case.counts.items() if code in _warned(case))
    if case.verdict == "FAILED":
        listed = (
            el(
                "li",
                el("code", one.code),
                text(f" line {one.line:,}: " if one.line is not None else ": "),
                said(one.message),
            )
            for one in failures[:10]
        )
        more = [el("p", f"and {len(failures) - 10:,} more, below")] if len(failures) > 10 else []  # noqa: PLR2004  (as listed)
        words = el("p", "The log FAILED its verification.", cls="big")
        meaning = el("p", "Until that is explained, nothing in this report is shown to be what was recorded.")
        return el("div", words, meaning, el("ul", *listed), *more, cls="banner bad")
    if case.verdict != "in order":
        words = el("p", "The log can be neither passed nor failed.", cls="big")
        why = el(
            "p",
            "A newer version of the tool wrote a part of it. What follows is only what this version can read.",
        )
        return el("div", words, why, cls="banner warn")
    told = {0: "No warning stands.", 1: "One warning stands, and is listed below."}
    return el(
        "div",
        el("p", "The log is in order.", cls="big"),
        el("p", told.get(warnings, f"{warnings:,} warnings stand, and are listed below.")),
        el("p", outside(case)),
        cls="banner good" if case.vouched else "banner warn",
    )


def _warned(case: CaseView) -> set[str]:
    return {one.code for one in case.findings if str(one.severity) == "WARN"}


def _unread(case: CaseView) -> Markup:
    if not case.unread:
        return Markup("")
    listed = ", ".join(f"{line:,}" for line in case.unread[:50])
    more = f" and {len(case.unread) - 50:,} more" if len(case.unread) > 50 else ""  # noqa: PLR2004  (as listed)
    words = f"Lines that hold no record that could be read, and of which this report says nothing: {listed}{more}."
    return el("p", el("b", words))


def _proof(case: CaseView) -> Markup:
    parts = (record.sentences("Proved", case.proved), record.sentences("Not proved", case.not_proved))
    return el("div", *parts, cls="two") if any(parts) else Markup("")


def _how_to_read() -> Markup:
    return el(
        "p",
        "Each act with the line of its intent and of its outcome. Times are UTC, with the offset of the place where the "
        "record was written. What a line says in full is in the log itself. Characters that do not print are shown as ",
        el("b", "\\x1b", cls="e"),
        ".",
        cls="q",
    )


def _footer(case: CaseView) -> Markup:
    return el(
        "footer",
        text(f"This report states what is in {case.covered} of the log, up to the head "),
        digest(case.head),
        text(". Check the log itself with README.txt and verify.sh of the case folder."),
    )
