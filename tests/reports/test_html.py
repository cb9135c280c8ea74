"""html: nothing hostile gets through, nothing that a court asks for is missing, equal bytes of equal logs."""

from __future__ import annotations

import re
import shutil
import unicodedata
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from imgkit.reports.exhibits import Partition, Table
from imgkit.reports.html.disk_map import LANES, disk_map
from imgkit.reports.html.markup import LONG, Markup, digest, el, join, said, text
from tests.reports import forged
from tests.reports.forged import HOSTILE, made

if TYPE_CHECKING:
    from pathlib import Path

    from imgkit.reports.view import Act, CaseView

ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "nav", "section", "footer", "h1",
    "h2", "h3", "h4", "p", "div", "span", "small", "b", "i", "code", "bdi", "br", "a", "ul", "ol", "li",
    "dl", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary",
    "time", "del", "ins", "figure", "figcaption", "svg", "desc", "rect", "text",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "scope", "data-l", "open",
    "dir", "role", "aria-label", "aria-labelledby", "x", "y", "width", "height", "text-anchor",
}  # fmt: skip
VOID = {"meta", "br"}


@dataclass
class Page(HTMLParser):
    """What is on a page; unbalanced elements fail where they are."""

    open: list[str] = field(default_factory=list)
    elements: set[str] = field(default_factory=set)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def values(self, attribute: str) -> list[str]:
        return [value for _, name, value in self.attributes if name == attribute]


def parsed(html: bytes) -> Page:
    page = Page()
    page.feed(html.decode())
    page.close()
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> CaseView:
    return forged.full(tmp_path_factory.mktemp("full") / "case")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> CaseView:
    return forged.hostile(tmp_path_factory.mktemp("hostile") / "case")


# -- hostile text ----------------------------------------------------------------------------------


def test_hostile_text_makes_no_markup(hostile: CaseView, full: CaseView) -> None:
    for case in (hostile, full):
        page = parsed(made("html", case))
        assert page.elements <= ELEMENTS
        assert {name for _, name, _ in page.attributes} <= ATTRIBUTES


def test_nothing_is_loaded_and_every_link_leads_somewhere(hostile: CaseView, full: CaseView) -> None:
    for case in (hostile, full):
        html = made("html", case)
        page = parsed(html)
        places = page.values("id")
        assert all(href.startswith("#") for href in page.values("href"))
        assert {href[1:] for href in page.values("href")} <= set(places)
        style = html.partition(b"<style>")[2].partition(b"</style>")[0]
        assert b"url(" not in style
        assert b"@import" not in style
        assert any("default-src 'none'" in value for value in page.values("content"))


def test_ids_are_given_once(full: CaseView) -> None:
    places = [place for place in parsed(made("html", full)).values("id") if place]
    assert len(places) == len(set(places))


def test_no_character_reaches_the_page_that_does_not_show(hostile: CaseView) -> None:
    shown = made("html", hostile).decode()
    bad = {c for c in shown if not c.isprintable() and c not in "\n\u00a0"}
    assert {unicodedata.name(c, hex(ord(c))) for c in bad} == set()


@pytest.mark.parametrize("value", HOSTILE)
def test_every_text_is_shown_with_what_it_hides(value: str) -> None:
    page = parsed(said(value).encode())
    whole = page.text.partition("… and ")[0]
    expected = value[:LONG]
    for char in set(expected):
        if not char.isprintable():
            named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
            expected = expected.replace(char, named.get(char) or char.encode("unicode_escape").decode())
    assert whole == expected


def test_a_long_text_says_how_much_is_not_shown() -> None:
    assert "and 63,536 more characters" in text("x" * 65_536)


def test_line_ends_stay_in_notes_alone() -> None:
    assert text("a\nb", lines=True) == "a\nb"
    assert "\\n" in text("a\nb")


def test_what_is_not_markup_is_escaped_wherever_it_stands() -> None:
    assert el("p", "<i>", Markup("<br>"), title='"><script>') == (
        '<p title="&quot;&gt;&lt;script&gt;">&lt;i&gt;<br></p>'
    )
    assert join(["&", Markup("&amp;")]) == "&amp;&amp;"
    assert type(Markup("<b>") + "x") is str, "a sum is no markup, and so is escaped"


def test_a_digest_is_one_word_in_groups_and_anything_else_is_text() -> None:
    value = forged.SHA256
    assert parsed(digest(value).encode()).text == value
    assert digest(value).count("<i>") == 8
    assert "<i>" not in digest("<i>" + value)


def test_a_log_without_a_true_uuid_reaches_no_style(tmp_path: Path) -> None:
    case = forged.Case(tmp_path / "case")
    case.forge.log = '"}body{display:none}'
    case.forge.open({"number": "1"})
    html = made("html", case.save()).decode()
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert "}body{display" not in style
    assert "log unknown" in style


# -- what it says ----------------------------------------------------------------------------------


def test_equal_bytes_when_made_twice(full: CaseView, tmp_path: Path) -> None:
    again = forged.full(tmp_path / "case")
    shutil.copytree(tmp_path / "case", tmp_path / "elsewhere")
    moved = forged.view_of(tmp_path / "elsewhere")
    assert made("html", full) == made("html", full) == made("html", again) == made("html", moved)


def test_names_the_lines_it_is_made_of(full: CaseView) -> None:
    page = parsed(made("html", full))
    assert f"lines 1 to {full.lines}" in page.text
    assert full.head in page.text
    assert full.log in page.text


def test_digests_stand_in_full_and_matches_apart_from_mismatches(full: CaseView) -> None:
    page = parsed(made("html", full))
    for value in (forged.SHA256, forged.MD5, forged.BLAKE3):
        assert value in page.text
    assert "MISMATCH" in page.text
    assert "Evidence is not as it was stated" in page.text
    assert "not of one sound state" in page.text, "the read had errors"


def test_a_correction_stands_beside_what_it_corrects(full: CaseView) -> None:
    exhibit = _section(made("html", full).decode(), "x1")
    assert "laptop, desk 4" in exhibit
    assert "laptop, desk 5" in exhibit
    assert "misread" in exhibit


def test_notes_enclosures_and_what_happened_are_there(full: CaseView) -> None:
    shown = parsed(made("html", full)).text
    for words in (
        "seal 4711 intact",
        "segment 3 is missing",
        "input/output error",
        "second opinion",
        "no outcome",
    ):
        assert words in shown, words


def test_every_line_has_its_place(full: CaseView) -> None:
    rows = [place for place in parsed(made("html", full)).values("id") if re.fullmatch(r"l\d+", place)]
    assert rows == [f"l{line}" for act in full.acts for line in act.lines]


def test_a_failed_log_says_so_first(tmp_path: Path) -> None:
    case = forged.Case(tmp_path / "case")
    case.forge.open({"number": "7"})
    case.forge.hash_act()
    log = case.folder / "custody.jsonl"
    log.write_bytes(bytes(case.forge.text).replace(b'"number":"7"', b'"number":"8"'))
    html = made("html", forged.view_of(case.folder)).decode()
    assert "The log FAILED its verification." in html
    assert "CHAIN_BREAK" in html.partition("FAILED its verification")[2][:600]
    assert html.index('id="findings"') < html.index('id="proof"')
    style = html.partition("</style>")[0]
    assert "; verification: FAILED" in style, "each printed page says so at its foot"


def test_a_sound_log_is_said_to_be_in_order_with_its_warnings(tmp_path: Path) -> None:
    case = forged.Case(tmp_path / "case")
    case.forge.open({"number": "7"})
    view = case.save()
    page = parsed(made("html", view))
    assert view.verdict == "in order"
    assert "The log is in order." in page.text
    assert all(sentence in page.text for sentence in view.not_proved)


def test_lines_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    case = forged.Case(tmp_path / "case")
    case.forge.open()
    log = case.folder / "custody.jsonl"
    log.write_bytes(bytes(case.forge.text) + b'{"torn\n')
    view = forged.view_of(case.folder)
    assert view.unread == (2,)
    assert "this report says nothing: 2." in parsed(made("html", view)).text


# -- the disk map ----------------------------------------------------------------------------------


def _table(
    act: Act, size: int, parts: list[tuple[int, int]], gaps: tuple[tuple[int, int], ...] = ()
) -> Table:
    partitions = tuple(
        Partition(number, offset, length, "0x83", "Linux", "", "", "", "")
        for number, (offset, length) in enumerate(parts, 1)
    )
    return Table(1, act, "dos", 512, size, partitions, (), gaps, (), "", (), ())


def _boxes(drawn: str) -> list[tuple[float, float, int]]:
    found = re.findall(r'<rect class="[a-z0-9]+" x="([\d.]+)%" y="(\d+)" width="([\d.]+)%"', drawn)
    return [(float(x), float(width), int(y)) for x, y, width in found]


@pytest.mark.parametrize(
    "parts",
    [
        [(0, 1), (1, 1), (2, 10**12)],
        [(0, 100), (50, 100), (60, 10), (10**6, 5)],
        [(10**12, 5), (2**63, 2**63)],
        [(at, 1) for at in range(500)],
        [(0, 10)] * 9,
        [(5, 0)],
    ],
)
def test_the_map_shows_every_partition_and_stays_inside(full: CaseView, parts: list[tuple[int, int]]) -> None:
    drawn = disk_map(_table(full.acts[0], 10**9, parts), "m")
    boxes = _boxes(drawn)
    assert len(boxes) == len(parts)
    assert all(x >= 0 and width > 0 and x + width <= 100.5 for x, width, _ in boxes)
    assert len({y for _, _, y in boxes}) <= LANES
    assert parsed(drawn.encode()).values("aria-labelledby") == ["m-t m-d"]


def test_the_map_is_proportional_where_it_can_be(full: CaseView) -> None:
    drawn = disk_map(_table(full.acts[0], 1000, [(0, 250), (250, 750)]), "m")
    (_, first, _), (start, second, _) = _boxes(drawn)
    assert start == pytest.approx(first, abs=0.01)
    assert second / first == pytest.approx(3, rel=0.1)


def test_partitions_that_overlap_stand_in_rows_of_their_own(full: CaseView) -> None:
    boxes = _boxes(disk_map(_table(full.acts[0], 1000, [(0, 500), (400, 500)]), "m"))
    assert boxes[0][2] != boxes[1][2]


def test_no_map_of_media_of_unknown_size(full: CaseView) -> None:
    assert disk_map(_table(full.acts[0], 0, [(0, 1)]), "m") == ""


def _section(html: str, anchor: str) -> str:
    return html.partition(f'id="{anchor}"')[2].partition('<section id="findings"')[0]
