"""html in a browser: printed on A4 and Letter nothing is lost; at 400 and 1280 px nothing hangs over the edge."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import need
from tests.reports import forged
from tests.reports.forged import made

if TYPE_CHECKING:
    from pathlib import Path

    from imgkit.reports.view import CaseView

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
TOOLS = ("chromium", "pdftotext", "pdfinfo")
PAPERS = {"A4": (595, 842), "letter": (612, 792)}
# What a page says of itself: how far its content reaches beyond its width, and what does.
ASK = """
const frame = document.querySelector("iframe");
frame.onload = () => {
  const inner = frame.contentDocument, width = inner.documentElement.clientWidth;
  const over = [...inner.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > width + 1
    && getComputedStyle(e).position !== "absolute" && !e.closest("thead"));
  document.getElementById("said").textContent = JSON.stringify([inner.documentElement.scrollWidth, width,
    over.slice(0, 3).map(e => e.outerHTML.slice(0, 200))]);
};
frame.srcdoc = document.getElementById("page").textContent;
"""


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    missing = [name for name in TOOLS if shutil.which(name) is None]
    need(not missing, f"not installed: {missing}")


def chromium(folder: Path, *words: str) -> str:
    """Run it with a profile of its own; return what it prints."""
    options = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
    )
    done = subprocess.run(
        ["chromium", *options, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def printed(folder: Path, page: bytes, paper: str, order: str) -> tuple[str, str]:
    """The page on paper: pdfinfo, and the text in the order of pdftotext."""
    source, pdf = folder / f"{paper}.html", folder / f"{paper}.pdf"
    source.write_bytes(page.replace(b"@page{", f"@page{{size:{paper};".encode(), 1))
    chromium(folder, "--no-pdf-header-footer", f"--print-to-pdf={pdf}", source.as_uri())
    told = subprocess.run(["pdfinfo", pdf], capture_output=True, text=True, check=True).stdout
    text = subprocess.run(["pdftotext", order, pdf, "-"], capture_output=True, text=True, check=True).stdout
    return told, text


def words(text: str) -> str:
    """Text without the white space that a line end or a group of digits makes."""
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("paper", PAPERS)
def test_nothing_is_lost_on_paper(tmp_path: Path, paper: str) -> None:
    case = forged.full(tmp_path / "case")
    told, text = printed(tmp_path, made("html", case), paper, "-raw")
    width, height = map(float, re.findall(r"Page size:\s+([\d.]+) x ([\d.]+)", told)[0])
    assert (round(width), round(height)) == pytest.approx(PAPERS[paper], abs=1)
    pages = int(re.findall(r"Pages:\s+(\d+)", told)[0])
    assert text.count("\f") == pages > 1
    shown = words(text)
    for value in (case.head, case.log, forged.SHA256, forged.MD5, forged.BLAKE3):
        assert value in shown
    assert all(words(sentence) in shown for sentence in (*case.proved[:1], *case.not_proved))
    for number, page in enumerate(text.split("\f")[:-1], 1):
        assert f"lines 1 to {case.lines}" in page, "the foot of every page says what it is of"
        assert re.search(rf"\b{number} / {pages}\b", page)


def test_a_long_record_is_printed_to_its_end_with_its_heads(tmp_path: Path) -> None:
    case = forged.many(tmp_path / "case", 900)
    _told, text = printed(tmp_path, made("html", case), "A4", "-layout")
    pages = text.split("\f")[:-1]
    rows = [re.match(r" *(\d+)(?:, (\d+))? ", line) for line in text.splitlines()]
    seen = {int(row[1]) for row in rows if row}
    assert {act.line for act in case.acts} <= seen
    heads = [page for page in pages if re.search(r"Line +Time +What +By +Details", page)]
    record = [page for page in pages if "Digests computed" in page and "/" in page]
    assert len(heads) >= len(record) - 1 > 5


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("name", ["full", "hostile"])
def test_nothing_hangs_over_the_edge(tmp_path: Path, name: str, width: int) -> None:
    case: CaseView = getattr(forged, name)(tmp_path / "case")
    everything = b"*{content-visibility:visible!important}</style>"  # else what is far down has no place yet
    page = html.escape(made("html", case).replace(b"</style>", everything, 1).decode())
    asking = tmp_path / "ask.html"
    asking.write_text(
        f'<!DOCTYPE html><meta charset="utf-8"><textarea id="page" hidden>{page}</textarea>'
        f'<p id="said"></p><iframe style="border:0;width:{width}px;height:900px"></iframe><script>{ASK}</script>'
    )
    dumped = chromium(tmp_path, "--virtual-time-budget=20000", "--dump-dom", asking.as_uri())
    said = re.search(r'<p id="said">(.*?)</p>', dumped, re.DOTALL)
    assert said, dumped[-500:]
    reach, inside, over = json.loads(html.unescape(said[1]))
    assert inside == width
    assert reach <= inside, over
