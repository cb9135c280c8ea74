"""Pieces that several sections show: a time, a line of the log, a verdict, a correction, a note."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.reports.html.markup import Markup, digest, el, folded, join, said, text
from imgkit.reports.wording import UNSHOWN, stamp

if TYPE_CHECKING:
    from imgkit.reports.view import Correction, Enclosed, Moment

_VERDICTS = {
    "match": ("good", "match"),
    "mismatch": ("bad", "MISMATCH"),
    "unreadable": ("bad", "UNREADABLE in parts"),
    "no-reference": ("warn", "nothing to compare with"),
    "unchanged": ("good", "unchanged since it was first hashed here"),
}


def line_link(line: int) -> Markup:
    """A line of the log, as a link to the act in the record."""
    return Markup(f'<a class="l" href="#l{line}">line\u00a0{line}</a>')


def when(moment: Moment) -> Markup:
    """A time in UTC, with the offset of the place where it was recorded."""
    return el("time", stamp(moment))


def verdict_mark(verdict: str) -> Markup:
    """A verdict, by its colour and in words."""
    kind, words = _VERDICTS.get(verdict, ("warn", verdict))
    mark = el("b", words, cls=f"v {kind}")
    return (
        join((mark, el("small", ", not compared with the acquisition"))) if verdict == "unchanged" else mark
    )


def corrections(said_later: tuple[Correction, ...]) -> Markup:
    """Corrections, beside what they correct: nothing was edited."""
    return join(
        el(
            "p",
            el("b", f"Corrected at line {one.line}: "),
            text(f"{one.field} of line {one.of} says “"),
            el("del", said(one.was)),
            "” and should say “",
            el("ins", said(one.now)),
            "”: ",
            said(one.why),
            " — ",
            said(str(one.actor)),
            ", ",
            when(one.time),
            cls="corr",
        )
        for one in said_later
    )


def notes(found: tuple[Enclosed, ...]) -> Markup:
    """Notes with their text, enclosures with their digest."""
    return join(_note(one) for one in found)


def _note(one: Enclosed) -> Markup:
    about = (when(one.act.when), ", ", said(one.act.actor.name), " ", line_link(one.line))
    if one.kind == "note":
        body = text(f"The text is not shown: it {UNSHOWN}.") if one.withheld else text(one.text, lines=True)
        content = el("p", body, cls="note", dir="auto")
    else:
        size = text(f" ({one.bytes:,} bytes)" if one.bytes is not None else "")
        content = el("p", said(one.description or one.origin), size, cls="note")
    summary = join(("Note, " if one.kind == "note" else "Enclosure, ", *about))
    return folded(summary, content, el("p", "SHA-256 ", digest(one.sha256), cls="q"), cls="notes")
