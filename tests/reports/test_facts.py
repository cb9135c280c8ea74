"""The facts sheet: plain text, whole digests, a line number on each statement, and no conclusion."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from imgkit.reports import report
from tests.reports.forged import BLAKE3, MD5, SHA256, Case, full, hostile, made, many

if TYPE_CHECKING:
    from pathlib import Path

    from imgkit.reports.view import CaseView

# Words of whoever judges; the sheet is for those who do.
CONCLUSIONS = (
    "authentic",
    "admissible",
    "genuine",
    "tamper",
    "trustworthy",
    "guarantee",
    "certif",
    "reliable",
)


@pytest.fixture(name="case", scope="module")
def fixture_case(tmp_path_factory: pytest.TempPathFactory) -> CaseView:
    return full(tmp_path_factory.mktemp("case") / "full")


def flat(case: CaseView) -> str:
    """The sheet with its wrapped lines joined."""
    return re.sub(r"\s+", " ", made("facts", case).decode())


def test_is_in_the_table_of_reports() -> None:
    assert report("facts").NAME == "facts"


def test_tells_log_lines_head_and_findings(case: CaseView) -> None:
    text = flat(case)
    assert f"Custody log: {case.log}" in text
    assert f"Made of: lines 1 to {case.lines}" in text
    assert f"Head (SHA-256 of line {case.lines}): {case.head}" in text
    assert f"Result: {case.verdict}" in text
    for found in case.findings:
        assert f"{found.severity} {found.code}: {found.message}" in text
    for sentence in case.not_proved:
        assert f"- {sentence}" in text


def test_equal_bytes_of_equal_views(case: CaseView, tmp_path: Path) -> None:
    assert made("facts", case) == made("facts", full(tmp_path / "again"))


@pytest.mark.parametrize(
    "sentence",
    [
        (
            "Added by Jane Doe <jane@lab>, examiner, Example Lab on 2026-05-01 09:00:02 UTC (+02:00), with imgkit 0.1.0."
            " [lines 2, 3]"
        ),
        "Exhibits -------- EX1: last verdict recorded: mismatch [line 7] EX1: laptop, desk 4 [line 2]",
        "Source, as stated: make Samsung, model MZ7, serial 0042. [line 2]",
        (
            "corrected from 'laptop, desk 4' to 'laptop, desk 5' by Jane Doe <jane@lab>, examiner, Example Lab on "
            "2026-05-01 09:00:21 UTC (+02:00), because: misread [line 22]"
        ),
        f"sha256 of the media, stated when it was added: [line 2] {SHA256}",
        f"md5 of the media, stored in the container: [line 2] {MD5}",
        f"ended 2026-05-01 09:00:04 UTC (+02:00): [lines 4, 5] blake3 {BLAKE3} sha256 {SHA256}",
        "They are of no one state: there were read errors, or something changed during the read.",
        "sha256 equals this log, line 2",
        "md5 DIFFERS FROM sidecar /evidence/laptop.md5",
        "the source is a file or statement that nothing protects against a change",
        "verdict recorded: mismatch; of all parts of the run: mismatch. [lines 6, 7]",
        "1 range that could not be read is recorded:",
        "media: 4,096 bytes from byte 512 were not read: input/output error [line 7]",
        "Partition 1: 1,048,576 bytes from byte 1,048,576",
        "Shown as device /dev/loop3 by Jane Doe",
        "what came of it: open; its end is not recorded. [line 28]",
        "EX1: handed over from Jane Doe <jane@lab> to Bob Roe <bob@lab>, recorded by Jane Doe",
        "exhibits: NOT read once more",
        "seal 4711 intact",
        "Record reviewed, by Bob Roe <bob@lab> on 2026-05-01 09:00:25 UTC (+02:00). [line 26] lines: 1 to 23",
        (
            "evidence.hashed EX1 by Jane Doe <jane@lab>, examiner, Example Lab on 2026-05-01 09:00:17 UTC (+02:00): "
            "failed: ImageError: segment 3 is missing [lines 18, 19]"
        ),
    ],
)
def test_says(sentence: str, case: CaseView) -> None:
    assert sentence in flat(case)


def test_draws_no_conclusion(case: CaseView) -> None:
    text = flat(case).lower()
    assert [word for word in CONCLUSIONS if word in text] == []


def test_lines_of_a_hundred_columns_and_digests_in_one_piece(case: CaseView) -> None:
    lines = made("facts", case).decode().split("\n")
    assert max(map(len, lines)) <= 100
    assert any(line.split()[-1:] == [SHA256] for line in lines)


def test_a_long_digest_is_not_parted(tmp_path: Path) -> None:
    case = Case(tmp_path / "case")
    case.forge.open()
    case.forge.act("evidence.added", {"files": []}, {"files": []})
    case.forge.act("evidence.hashed", {"of": "media"}, {"of": "media", "digests": {"sha512": "ab" * 64}})
    assert f"sha512 {'ab' * 64}\n" in made("facts", case.save()).decode()


def test_hostile_texts_are_harmless(tmp_path: Path) -> None:
    text = made("facts", hostile(tmp_path / "case")).decode()
    assert all(line.isprintable() for line in text.split("\n"))
    assert "\\x1b[31mred" in text
    assert "\\u202egnp.exe" in text
    assert "two\\nlines" in text
    assert "characters, in full in the log or its enclosures]" in re.sub(r"\s+", " ", text)
    titles = [line for line in text.split("\n") if set(line) == {"-"}]
    assert len(titles) == 7  # no text made a heading of its own


def test_a_withheld_note_is_said_to_be(tmp_path: Path) -> None:
    case = Case(tmp_path / "case")
    case.forge.open()
    kept = case.enclose(b"secret", "txt")
    (case.folder / "enclosures" / kept["enclosure"]).unlink()
    case.forge.event("note.added", kept)
    text = flat(case.save())
    assert "its text lies in an enclosure that is not there, or is not what the record names" in text
    assert kept["sha256"] in text


def test_a_failed_verification_is_said_first(tmp_path: Path) -> None:
    case = Case(tmp_path / "case")
    case.forge.open()
    case.forge.hash_act()
    case.forge.hash_act()
    case.forge.lines[2] = case.forge.lines[2].replace(b"laptop-ssd", b"laptop-hdd")
    text = flat(case.save())
    assert "Result: FAILED Until that is explained, nothing in this sheet is shown" in text
    assert text.index("CHAIN_BREAK") < text.index("People and tools")


def test_a_long_case_stays_readable(tmp_path: Path) -> None:
    content = made("facts", many(tmp_path / "case", 10_000))
    assert b"more: the csv reports have all of them" in content
    assert len(content) < 400_000
