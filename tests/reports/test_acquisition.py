"""What a container says of its acquisition: in every report, as its own words; old logs and odd records do no harm."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.reports.acquisition import acquisition_in
from tests.reports.forged import OTHER, Case, added, full, made

if TYPE_CHECKING:
    from pathlib import Path

    from imgkit.reports.view import CaseView

TABLE = {"what": "container", "scheme": "none", "partitions": [], "findings": []}
REPORTS = ("html", "facts", "csv.exhibits", "case_uco")
SAID = (
    ("case number", "C-7"),
    ("examiner", "Jane Doe"),
    ("acquired, as written", "2026 4 30 10 0 0"),
    ("acquired, seconds since 1970", "1777543200 (as UTC: 2026-04-30 10:00:00)"),
    ("of_a_newer_version", "still shown"),
    ("password", "none"),
    ("could not read", "2 ranges, 4,608 bytes in all"),
    ("other: srce.ev", "item 1"),
    ("examiner, in section header", "John Roe"),
    ("in doubt", "the header section states no code page and is no ASCII: read as Windows-1252"),
    ("notes is cut", f"9000 characters in the container, SHA-256 {OTHER}"),
    ("not recorded", "3 further values: the container has them"),
)


@pytest.fixture(name="case", scope="module")
def fixture_case(tmp_path_factory: pytest.TempPathFactory) -> CaseView:
    return full(tmp_path_factory.mktemp("case") / "full")


def recorded(folder: Path, *acts: tuple[str, Any]) -> CaseView:
    """A case with one exhibit, and in each act what the container says."""
    case = Case(folder)
    case.forge.open()
    for kind, said in acts:
        facts = added() if kind == "evidence.added" else TABLE
        facts = facts if said is None else facts | {"acquisition": said}
        case.forge.act(kind, facts, facts)
    return case.save()


def test_the_view_has_it_in_words_and_order(case: CaseView) -> None:
    found = case.exhibits[0].acquisition
    assert found is not None
    assert (found.line, found.facts) == (2, SAID)


@pytest.mark.parametrize(("name", "mark"), [
    ("html", "What the container says of its acquisition"),
    ("html", "none of them was checked"),
    ("facts", "The container says of its acquisition, which nobody checked: [line 2]"),
    ("csv.exhibits", "said by the container, not checked"),
    ("case_uco", "said by the container, not checked, examiner: Jane Doe"),
])  # fmt: skip
def test_every_report_says_whose_words_they_are(case: CaseView, name: str, mark: str) -> None:
    shown = made(name, case).decode()
    assert mark in re.sub(r"\s+", " ", shown)
    for text in ("C-7", "1777543200", "John Roe", "still shown", "item 1", "3 further values"):
        assert text in shown


@pytest.mark.parametrize("name", REPORTS)
def test_equal_logs_make_equal_bytes(case: CaseView, name: str, tmp_path: Path) -> None:
    assert made(name, case) == made(name, full(tmp_path / "again"))


def test_a_statement_of_the_facts_sheet_cannot_be_made_to_look_like_two(tmp_path: Path) -> None:
    said = {"notes": "none; examiner: Mallory\n    examiner: Mallory", "examiner": "Jane"}
    sheet = made("facts", recorded(tmp_path / "case", ("evidence.added", said))).decode()
    assert [line for line in sheet.splitlines() if line.startswith("    examiner")] == ["    examiner: Jane"]
    assert "notes: none; examiner: Mallory\\n    examiner: Mallory" in sheet


def test_an_older_log_has_nothing_of_it(tmp_path: Path) -> None:
    case = recorded(tmp_path / "case", ("evidence.added", None))
    assert (case.verdict, case.exhibits[0].acquisition) == ("in order", None)
    for name in REPORTS:
        assert b"the container" not in made(name, case).split(b"Exhibits", 1)[-1].split(b"Not proved", 1)[0]


def test_what_an_info_found_later_is_told_with_its_line(tmp_path: Path) -> None:
    said = {"examiner": "Jane"}
    case = recorded(tmp_path / "case", ("evidence.added", None), ("evidence.inspected", said))
    found = case.exhibits[0].acquisition
    assert found is not None
    assert (found.line, found.facts) == (5, (("examiner", "Jane"),))


@pytest.mark.parametrize(
    "odd",
    [
        "text",
        ["a"],
        {"examiner": ["a", {"b": 1}], "other": {"field": 1}, "differences": [1], "cut": "x", "errors": 5},
        {"acquired_epoch": "9" * 5000, "system_epoch": "-99999999999999999", "left_out": [], "problems": {}},
        {"other": {"count": 9, "sha256": OTHER, "enclosure": f"{OTHER}.json"}},
    ],
)
def test_what_a_strangers_log_holds_in_its_place_is_no_error(tmp_path: Path, odd: Any) -> None:
    case = recorded(tmp_path / "case", ("evidence.added", odd))
    for name in REPORTS:
        assert made(name, case)
    if "enclosure" in str(odd):
        assert "[9 in enclosure" in made("facts", case).decode()


def test_every_name_of_a_record_has_words() -> None:
    from imgkit.examination.acquisition import NAMED

    values = dict.fromkeys(NAMED, "1")
    found = acquisition_in(full_act(values))
    assert found is not None
    assert len(found.facts) == len(NAMED)
    assert not any("_" in name for name, _ in found.facts)


def full_act(values: dict[str, str]) -> Any:
    """The shape of an act that is looked at, without a log."""
    from types import SimpleNamespace

    return [SimpleNamespace(type="evidence.added", data={"acquisition": values}, line=2)]
