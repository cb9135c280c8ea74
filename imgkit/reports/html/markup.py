"""Markup: text that is safe to stand in the page. Whatever is not made here is escaped."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONG = 2_000  # characters of a text that are shown; the log has the rest
NOTE = 50_000  # of a note
GROUP = 8  # digits of a hash between which it may be wrapped

_HEX = re.compile(r"[0-9a-f]{16,256}\Z")
_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,20}(?: [0-9]{1,4})?\Z")
_LANG = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Markup(str):
    """A piece of the page."""

    __slots__ = ()


def text(value: str, *, lines: bool = False) -> Markup:
    r"""Return text that shows what it holds: characters that do not print, or turn the direction, as `\u202e`.

    Args:
        value: Anything.
        lines: It is a note: line ends stay line ends, and more of it is shown.
    """
    longest = NOTE if lines else LONG
    shown, rest = value[:longest], len(value) - longest
    shown = html.escape(shown) if shown.isprintable() else _escaped(shown, lines=lines)
    if rest > 0:
        shown += f'<b class="e">… and {rest:,} more characters in the log or its enclosures</b>'
    return Markup(shown)


def _escaped(value: str, *, lines: bool) -> str:
    return "".join(_character(char, lines=lines) for char in value)


def _character(char: str, *, lines: bool) -> str:
    if char.isprintable() or (lines and char == "\n"):
        return html.escape(char)
    escape = _LANG.get(char) or char.encode("unicode_escape").decode("ascii")
    return f'<b class="e">{escape}</b>'


def said(value: str) -> Markup:
    """Text of people or of images: set apart, so that its direction does not reach beyond it; a short word needs no care."""
    if _WORD.match(value):
        return text(value)
    return Markup(f"<bdi>{text(value)}</bdi>") if value else Markup("")


def join(parts: Iterable[str]) -> Markup:
    """Parts one after the other; a plain string is escaped."""
    return Markup("".join(part if isinstance(part, Markup) else text(part) for part in parts))


def el(name: str, *parts: str, cls: str = "", **attributes: str) -> Markup:
    """An element. `cls` is its class; attributes are escaped, and an underscore in a name is a hyphen."""
    given = f' class="{html.escape(cls)}"' if cls else ""
    for key, value in attributes.items():
        given += f' {key.replace("_", "-")}="{text(value)}"' if value.isprintable() else ""
    return Markup(f"<{name}{given}>{join(parts)}</{name}>")


def digest(value: str) -> Markup:
    """A hash in full, in groups between which it may be wrapped and nowhere else; copied, it is one word."""
    if not _HEX.match(value):
        return el("code", said(value))
    groups = (value[at : at + GROUP] for at in range(0, len(value), GROUP))
    return Markup(f'<code class="h">{"".join(f"<i>{group}</i>" for group in groups)}</code>')


def facts(rows: Iterable[tuple[str, str]]) -> Markup:
    """A list of facts; those without a value are left out."""
    known = [(name, value) for name, value in rows if value]
    if not known:
        return Markup("")
    return el("dl", *(el("div", el("dt", name), el("dd", value)) for name, value in known))


def table(
    caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()
) -> Markup:
    """A table that repeats its head on each page, and becomes a list on a narrow screen; nothing without rows."""
    body = [_row(headers, row, right) for row in rows]
    if not body:
        return Markup("")
    head = el("tr", *(el("th", name, scope="col", cls=_side(at, right)) for at, name in enumerate(headers)))
    return el("table", el("caption", caption), el("thead", head), el("tbody", *body))


def _row(headers: Sequence[str], cells: Sequence[str], right: Sequence[int]) -> Markup:
    return el(
        "tr",
        *(
            el("td", cell, cls=_side(at, right), data_l=name)
            for at, (name, cell) in enumerate(zip(headers, cells, strict=True))
        ),
    )


def _side(column: int, right: Sequence[int]) -> str:
    return "r" if column in right else ""


def folded(summary: str, *parts: str, cls: str = "") -> Markup:
    """What can be folded without a script; open, for a closed one would not be printed."""
    return el("details", el("summary", summary), *parts, cls=cls, open="")


def section(title: str, anchor: str, *parts: str, level: int = 2, cls: str = "") -> Markup:
    """A section with its heading; nothing where it has no content."""
    content = join(parts)
    if not content:
        return content
    place = {"id": anchor} if anchor else {}
    return el("section", el(f"h{level}", title), content, cls=cls, **place)
