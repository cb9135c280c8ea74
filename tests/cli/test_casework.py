"""What is done to a case: nothing of the evidence is copied in, only what people stated can be corrected."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.running import Imgkit


@pytest.fixture
def case(imgkit: Imgkit, gpt_disk: str) -> str:
    """A case with one exhibit."""
    imgkit("case", "new", "case", "--number", "7").ended(0)
    imgkit("case", "add", gpt_disk, "--case", "case", "--description", "laptop").ended(0)
    return "case"


def test_new_says_which_line_it_wrote(imgkit: Imgkit) -> None:
    document = imgkit("case", "new", "case", "--json").ended(0).json
    assert document["records"] == {"log": document["uuid"], "seq": [1, 1]}


def test_evidence_is_never_copied_into_a_case(imgkit: Imgkit, case: str, gpt_disk: str) -> None:
    os.link(imgkit.folder / gpt_disk, imgkit.folder / "another-name.bin")
    for name in (gpt_disk, "another-name.bin"):
        done = imgkit("case", "enclose", name, "--case", case).ended(2)
        assert "is EX1 of this case" in done.errors[0]
    assert not list((imgkit.folder / case / "enclosures").iterdir())


def test_a_report_is_enclosed(imgkit: Imgkit, case: str) -> None:
    (imgkit.folder / "report.txt").write_text("all fine\n")
    document = imgkit("case", "enclose", "report.txt", "--case", case, "--json").ended(0).json
    assert (imgkit.folder / case / "enclosures" / document["enclosure"]).read_text() == "all fine\n"
    imgkit("log", "verify", case).ended(0)


@pytest.mark.parametrize("field", ["prev", "seq", "log", "v", "time.utc", "session", "type"])
def test_what_chains_the_log_cannot_be_corrected(imgkit: Imgkit, case: str, field: str) -> None:
    done = imgkit("case", "correct", "2", field, "x", "--why", "y", "--case", case).ended(2)
    assert "cannot be corrected" in done.errors[0]


def test_what_people_stated_can(imgkit: Imgkit, case: str) -> None:
    words = (
        "case",
        "correct",
        "2",
        "data.description",
        "desktop",
        "--why",
        "misread",
        "--case",
        case,
        "--json",
    )
    document = imgkit(*words).ended(0).json
    assert (document["was"], document["now"]) == ("laptop", "desktop")
    assert "already" in imgkit(*words[:4], "laptop", *words[5:-1]).ended(2).errors[0]
    imgkit("case", "correct", "1", "data.number", "8", "--why", "mistyped", "--case", case).ended(0)
    (of_exhibit, of_case) = imgkit("case", "show", case, "--json").ended(0).json["corrections"]
    assert (of_exhibit["exhibit"], of_exhibit["of"], of_exhibit["line"]) == ("EX1", 2, document["correction"])
    assert [of_exhibit[key] for key in ("was", "now", "why")] == ["laptop", "desktop", "misread"]
    assert (of_case["exhibit"], of_case["was"], of_case["now"]) == (None, "7", "8")
    shown = " ".join(imgkit("case", "show", case).ended(0).out.split())
    assert "data.description of line 2 is 'desktop', not 'laptop': misread (Jane Doe, line 4)" in shown
    assert "data.number of line 1 is '8', not '7': mistyped (Jane Doe, line 5)" in shown


def test_the_script_can_be_run_by_whoever_can_read_it(imgkit: Imgkit) -> None:
    folder = imgkit.folder / "case"
    for mode, expected in ((0o750, 0o750), (0o770, 0o770), (0o700, 0o700)):
        place = folder.with_name(f"case-{mode:o}")
        place.mkdir()
        place.chmod(mode)
        imgkit("case", "new", place.name).ended(0)
        assert stat.S_IMODE((place / "verify.sh").stat().st_mode) == expected


def test_a_damaged_memory_is_accepted_on_record(imgkit: Imgkit, case: str, tmp_path: Path) -> None:
    (memory,) = tmp_path.rglob("heads/*.json")
    memory.write_text("no memory\n")
    refused = imgkit("case", "note", "x", "--case", case).ended(3)
    assert "accept-rollback" in refused.err
    imgkit("log", "accept-rollback", case, "--reason", "disk error").ended(0)
    imgkit("case", "note", "x", "--case", case).ended(0)
    records = [json.loads(line) for line in (imgkit.folder / case / "custody.jsonl").read_text().splitlines()]
    (accepted,) = (record for record in records if record["type"] == "log.rollback_accepted")
    assert accepted["data"]["code"] == "NO_HEAD_MEMORY"
    assert "damaged" in accepted["data"]["remembered"]
    imgkit("log", "verify", case).ended(0)


def test_the_first_record_of_a_run_names_the_libraries(imgkit: Imgkit, case: str) -> None:
    records = [json.loads(line) for line in (imgkit.folder / case / "custody.jsonl").read_text().splitlines()]
    libraries = {"blake3", "isal", "pytsk3", "zstandard"}
    assert set(records[0]["env"]["libraries"]) == libraries


@pytest.mark.parametrize(
    ("name", "shown"), [(b"bad\xff.dd", "bad\\xff.dd"), (b"new\nline.dd", "new\\nline.dd")]
)
def test_a_path_that_does_not_print_is_shown_escaped(imgkit: Imgkit, name: bytes, shown: str) -> None:
    case = imgkit.case("named")
    imgkit.image(os.fsdecode(name))
    imgkit("case", "add", os.fsdecode(name), "--case", case).ended(0)
    (exhibit,) = imgkit("case", "show", case, "--json").ended(0).json["exhibits"]
    assert exhibit["paths"] == [f"{imgkit.folder}/{shown}"]
