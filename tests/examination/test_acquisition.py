"""What an E01 says of its acquisition is recorded with the exhibit: as found, bounded, and nothing of it cut in silence."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.containers import open_image
from imgkit.custody.record import LINE_LIMIT, encode
from imgkit.custody.verify import verify_log
from imgkit.examination import Examination
from imgkit.examination.acquisition import LONGEST, NAMED, acquisition_record
from tests.containers.ewf_writer import Recipe, write_ewf
from tests.reports.forged import HOSTILE, made, view_of

if TYPE_CHECKING:
    from collections.abc import Iterator

Record = dict[str, Any]
REPORTS = ("html", "facts", "csv", "csv.hashes", "csv.exhibits", "case_uco")
SHIFTED = "a value may stand at another's name"


@pytest.fixture
def examination(tmp_path: Path) -> Iterator[Examination]:
    environ = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    os.chdir(tmp_path)
    with Examination.open(examiner="Jane Doe <jane@lab>", argv=["test"], environ=environ) as opened:
        yield opened


def header2(**values: str) -> str:
    names, texts = "\t".join(values), "\t".join(values.values())
    return f"3\nmain\n{names}\n{texts}\n\n"


def image_that_says(facts: object, **metadata: object) -> Any:
    return SimpleNamespace(metadata={"acquisition": facts, **metadata})


def info_of(examination: Examination, folder: Path, recipe: Recipe) -> tuple[Record, Record]:
    """What `info` leaves of an image that the log has not seen: data of the intent that adds it, and of its own outcome."""
    layout = write_ewf(folder, bytes(64 * 512), recipe)
    before = layout.paths[0].read_bytes()
    with examination.evidence(str(layout.paths[0])) as evidence:
        examination.info(evidence)
    assert layout.paths[0].read_bytes() == before
    found = {(item["type"], item["phase"]): item["data"] for item in examination.log.records()}
    return found["evidence.added", "intent"], found["evidence.inspected", "outcome"]


# -- what is recorded --------------------------------------------------------------------------------


def test_it_is_recorded_where_it_is_added_and_where_info_showed_it(
    examination: Examination, tmp_path: Path
) -> None:
    said = header2(c="C7", n="item 1", a="désk", e="Jané", t="a note", av="7.1", ov="Linux", m="1142163845")
    added, inspected = info_of(
        examination, tmp_path, Recipe(header2=said, header=None, errors=[(10, 2), (20, 5)])
    )
    assert added["acquisition"] == inspected["acquisition"] == {
        "case_number": "C7",
        "evidence_number": "item 1",
        "description": "désk",
        "examiner": "Jané",
        "notes": "a note",
        "software_version": "7.1",
        "os": "Linux",
        "acquired_epoch": "1142163845",
        "errors": {"count": 2, "bytes": 7 * 512},
    }  # fmt: skip


def test_where_nothing_is_stated_nothing_is_recorded(examination: Examination, tmp_path: Path) -> None:
    for data in info_of(examination, tmp_path, Recipe(header=None)):
        assert "acquisition" not in data


def test_a_raw_image_states_nothing(tmp_path: Path) -> None:
    (tmp_path / "disk.dd").write_bytes(bytes(4096))
    with open_image(tmp_path / "disk.dd") as image:
        assert acquisition_record(image) == {}


def test_what_is_in_doubt_is_recorded_with_it(examination: Examination, tmp_path: Path) -> None:
    """A tab within the description shifts what follows: whoever has only the log must not take `sk` for an examiner."""
    recipe = Recipe(header="1\nmain\nc\tn\ta\te\nC1\tE1\tde\tsk\tme\n\n")
    added, inspected = info_of(examination, tmp_path, recipe)
    assert added["acquisition"]["examiner"] == "sk"
    (problem,) = added["acquisition"]["problems"]
    assert problem.endswith(SHIFTED)
    assert [text for text in inspected["notices"] if SHIFTED in text]
    page = made("facts", view_of(Path(examination.log.path).parent))
    assert b"in doubt: the header section has 5 values" in b" ".join(page.split())


def test_what_sections_state_differently_and_without_a_name_is_recorded(
    examination: Examination, tmp_path: Path
) -> None:
    recipe = Recipe(header2=header2(e="Jane", xx="odd"), header="1\nmain\ne\tp\nJohn\tabc\n\n")
    said = info_of(examination, tmp_path, recipe)[0]["acquisition"]
    assert said == {
        "examiner": "Jane",
        "password": True,
        "differences": [
            {"field": "examiner", "section": "header2", "value": "Jane"},
            {"field": "examiner", "section": "header", "value": "John"},
        ],
        "other": [{"field": "xx", "value": "odd"}],
    }


# -- hostile headers ---------------------------------------------------------------------------------


def test_a_hostile_header_round_trips_and_harms_no_report(examination: Examination, tmp_path: Path) -> None:
    texts = [
        text.replace("\t", " ").replace("\n", " ").replace("\r", " ")
        for text in HOSTILE
        if "\x00" not in text
    ]
    names = ["c", "n", "a", "e", "t", "md", "sn", "l", "av", "ov", "pid", "ext"]
    values = dict(zip(names, texts, strict=True))
    added, _ = info_of(examination, tmp_path, Recipe(header2=header2(**values), header=None))
    said = added["acquisition"]
    assert (said["case_number"], said["description"]) == (texts[0], texts[2])  # as found, escapes and all
    assert (said["extents"], len(texts[-1])) == (texts[-1][:LONGEST], 20_000)
    whole = {"characters": 20_000, "sha256": hashlib.sha256(texts[-1].encode()).hexdigest()}
    assert said["cut"] == [{"field": "extents", **whole}]
    folder = Path(examination.log.path).parent
    assert not verify_log(folder).failed
    pages = {name: made(name, view_of(folder)) for name in REPORTS}
    assert pages == {name: made(name, view_of(folder)) for name in REPORTS}
    assert b"<script>alert" not in pages["html"]
    for name in ("html", "facts", "csv.exhibits"):
        assert "\u202e" not in pages[name].decode()
        assert b"\x1b" not in pages[name]
        assert b"20000 characters in the container" in b" ".join(pages[name].split())


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f600", "\x00", "\ud800"])
def test_whatever_a_header_holds_it_stays_well_below_a_line(letter: str) -> None:
    long = letter * 262_144
    facts: Record = dict.fromkeys(NAMED, long)
    facts["other"] = {f"{letter}{number}": long for number in range(300)} | {long: "x"}
    facts["differences"] = [{"field": name, "header": long, "header2": "x"} for name in NAMED]
    said = acquisition_record(
        image_that_says(facts, acquisition_problems=("p" * 200,) * 300, acquisition_errors=())
    )
    line = json.dumps(said)
    assert len(line) < LINE_LIMIT // 2
    whole = len(NAMED) + 301 + 2 * len(NAMED)
    kept = sum(name in said for name in NAMED) + len(said.get("other", ())) + len(said.get("differences", ()))
    assert said["left_out"] == whole - kept
    assert {item["characters"] for item in said["cut"]} == {262_144}
    kept_of_a_value = LONGEST // 2 if letter == "\U0001f600" else LONGEST
    assert said["case_number"] == letter * kept_of_a_value
    if letter != "\ud800":  # which a record escapes when it is written
        assert encode({"data": said})


def test_numbers_beyond_what_json_readers_keep_are_text() -> None:
    facts = {"acquired_epoch": 999_999_999_999_999_999}
    huge = ({"offset": 0, "length": 2**53}, {"offset": 0, "length": 1})
    said = acquisition_record(image_that_says(facts, acquisition_errors=huge))
    assert said == {
        "acquired_epoch": "999999999999999999",
        "errors": {"count": 2, "bytes": str(2**53 + 1)},
    }


# -- room in a line ----------------------------------------------------------------------------------


def test_a_set_whose_long_paths_leave_no_room_in_a_line_is_known_again(
    examination: Examination, tmp_path: Path
) -> None:
    """With what the container says the list of its files no longer fits: it is enclosed, and the exhibit stays one."""
    folder = tmp_path / ("a" * 250) / ("b" * 250)
    folder.mkdir(parents=True)
    said = header2(**dict.fromkeys(("c", "n", "a", "e", "t", "md", "sn"), "x" * 1_990))
    recipe = Recipe(header2=said, chunks_per_segment=1, sectors_per_chunk=1)
    layout = write_ewf(folder, bytes(99 * 512), recipe)
    names = set()
    for path in (layout.paths[0], layout.paths[50]):
        with examination.evidence(str(path)) as evidence:
            names.add(evidence.exhibit)
    examination.refresh()
    with examination.evidence(str(layout.paths[98])) as evidence:
        names.add(evidence.exhibit)
    assert names == {"EX1"}
    added = next(item["data"] for item in examination.log.records() if item["type"] == "evidence.added")
    assert "enclosure" in added["files"]
    assert added["first_file"]["path"] == str(layout.paths[0])
    assert len(added["acquisition"]["examiner"]) == 1_990
