"""CSV: RFC 4180, nothing in a cell is run, rounded or hidden, and every row says where the log says so."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import pytest

from imgkit.reports import report
from imgkit.reports.csv.cells import LONGEST, cell, safe
from tests.reports.forged import FORMULA, MD5, SHA256, full, hostile, made, many

if TYPE_CHECKING:
    from pathlib import Path

    from imgkit.reports.view import CaseView

TABLES = ("csv", "csv.hashes", "csv.exhibits")
RUN = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def rows(content: bytes) -> list[dict[str, str]]:
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))


def of(kind: str, content: bytes) -> list[dict[str, str]]:
    return [row for row in rows(content) if row["row"] == kind]


@pytest.fixture(name="case", scope="module")
def fixture_case(tmp_path_factory: pytest.TempPathFactory) -> CaseView:
    return full(tmp_path_factory.mktemp("case") / "full")


@pytest.mark.parametrize("name", TABLES)
def test_names_are_those_of_the_table_of_reports(name: str) -> None:
    asked = name.replace(".", "-")
    assert asked == report(asked).NAME


@pytest.mark.parametrize("name", TABLES)
def test_tells_log_lines_head_and_findings(name: str, case: CaseView) -> None:
    text = made(name, case).decode()
    assert f"log {case.log}, lines 1 to {case.lines}, head {case.head}" in text
    for found in case.findings:
        assert found.code in text
    for sentence in (*case.proved, *case.not_proved):
        assert sentence in text


@pytest.mark.parametrize("name", TABLES)
def test_equal_bytes_of_equal_views(name: str, case: CaseView, tmp_path: Path) -> None:
    assert made(name, case) == made(name, full(tmp_path / "again"))


def test_each_line_of_the_log_is_in_the_time_line_once(case: CaseView) -> None:
    content = made("csv", case)
    told = [row[key] for row in of("act", content) + of("event", content) for key in ("line", "ended_line")]
    assert sorted(int(line) for line in told if line) == list(range(1, case.lines + 1))


def test_an_act_says_who_when_with_what_and_what_came_of_it(case: CaseView) -> None:
    [act] = [row for row in of("act", made("csv", case)) if row["line"] == "18"]
    assert (act["type"], act["exhibit"], act["result"]) == ("evidence.hashed", "EX1", "failed")
    assert (act["examiner"], act["examiner_id"], act["tool"]) == ("Jane Doe", "jane@lab", "imgkit 0.1.0")
    assert act["error"] == "ImageError: segment 3 is missing"
    assert act["utc"] < act["ended_utc"]


def test_digests_stated_computed_and_compared(case: CaseView) -> None:
    content = made("csv.hashes", case)
    stated = {(row["algorithm"], row["digest"]) for row in of("stated", content)}
    assert stated == {("sha256", SHA256), ("md5", MD5)}
    computed = of("computed", content)
    assert [(row["line"], row["algorithm"], row["outcome"] == "") for row in computed] == [
        ("5", "blake3", True),
        ("5", "sha256", True),
        ("7", "md5", False),
        ("7", "sha256", False),
    ]
    compared = [(row["algorithm"], row["outcome"], row["source"]) for row in of("compared", content)]
    assert compared == [
        ("sha256", "match", "this log, line 2"),
        ("md5", "mismatch", "sidecar /evidence/laptop.md5"),
    ]
    assert [(row["offset"], row["length"]) for row in of("read error", content)] == [("512", "4096")]


def test_exhibits_with_partitions_attachments_and_mounts(case: CaseView) -> None:
    content = made("csv.exhibits", case)
    [exhibit] = of("exhibit", content)
    assert exhibit["description"] == "laptop, desk 4"
    assert "corrected by line 22, data.description: laptop, desk 5" in exhibit["details"]
    [part] = of("partition", content)
    assert (part["offset"], part["length"], part["line"]) == ("1048576", "1048576", "9")
    [gap] = of("gap", content)
    assert (gap["offset"], gap["length"]) == ("0", "1048576")
    attached = of("attachment", content)
    assert [(row["line"], row["ended_line"], row["state"]) for row in attached] == [
        ("10", "16", "detached"),
        ("28", "", "begun, and no sound outcome (open); open"),
    ]
    [mount] = of("mount", content)
    assert (mount["description"], mount["state"]) == ("/run/imgkit/EX1/p1", "unmounted")


@pytest.mark.parametrize("name", TABLES)
def test_hostile_texts_stay_text(name: str, tmp_path: Path) -> None:
    content = made(name, hostile(tmp_path / "case"))
    text = content.decode("utf-8-sig")
    assert text.replace("\r\n", "").isprintable()
    found = rows(content)
    assert text.count("\r\n") == len(found) + 1  # no cell holds a line end
    for row in found:
        assert None not in row
        assert None not in row.values()
        for value in row.values():
            assert not RUN.match(value.lstrip()), value[:80]
            assert not re.search(r";\s*[=+\-@]", value), value[:80]
            assert len(value) < 32_767
    assert f"'{FORMULA}" in {value for row in found for value in row.values()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("=1+1", "'=1+1"),
        ("+49 30", "'+49 30"),
        ("-1", "'-1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\\t=1"),
        ("\rx", "'\\rx"),
        ("\uff1d1", "'\uff1d1"),
        ("  =1", "'  =1"),
        ("a;=1", "a;'=1"),
        ("a; -1", "a;' -1"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202egnp", "\\u202egnp"),
        ("\udcff", "\\xff"),
        ("12345", "12345"),
        ("123456789012345", "123456789012345"),
        ("1234567890123456", "'1234567890123456"),
        ("0042", "'0042"),
        ("0", "0"),
        ("12e4", "'12e4"),
        ("2026-01", "'2026-01"),
        ("1/2", "'1/2"),
        ("12:30", "'12:30"),
        ("3.14", "'3.14"),  # the third of the fourteenth in some countries
        ("2026-0142", "2026-0142"),
        ("'=1", "'=1"),
        ('"=1"', '"=1"'),
        ("6.10", "'6.10"),
        ("1,50", "'1,50"),
        ("12E+3", "'12E+3"),
        ("1E-5", "'1E-5"),
        ("(5)", "'(5)"),
        ("TRUE", "'TRUE"),
        ("1" + "0" * 20 + "e10", "'1" + "0" * 20 + "e10"),  # a digest may be made of such digits
        ("2026-05-01 09:00", "'2026-05-01 09:00"),
        ("9:30 pm", "'9:30 pm"),
        ("MAR12", "'MAR12"),
        ("5-Mar", "'5-Mar"),
        ("1 May 2026", "'1 May 2026"),
        ("May 1, 2026", "'May 1, 2026"),
        ("Maybe 2 keys", "Maybe 2 keys"),
        ("may", "may"),
        ("3.11.2", "'3.11.2"),
        ("imgkit 0.1.0", "imgkit 0.1.0"),
        ("2026-05-01T09:00:00.000000Z", "2026-05-01T09:00:00.000000Z"),
    ],
)
def test_what_a_spreadsheet_would_change_is_kept(text: str, expected: str) -> None:
    assert safe(text) == expected


def test_cells_of_other_kinds() -> None:
    assert cell(None) == '""'
    assert cell(4194304) == '"4194304"'
    assert cell(2**63) == f'"\'{2**63}"'
    assert cell(value=True) == '"yes"'
    assert cell('say "hi", twice') == '"say ""hi"", twice"'


def test_a_text_longer_than_a_cell_is_cut_and_says_so() -> None:
    shown = safe("y" * 65_536)
    assert shown.startswith("y" * LONGEST)
    assert shown.endswith("[cut: 65536 characters, in full in the log or its enclosures]")


def test_a_long_case(tmp_path: Path) -> None:
    case = many(tmp_path / "case", 10_000)
    assert len(of("act", made("csv", case))) == sum(not act.is_event for act in case.acts) >= 4_900
