"""case report: the product is recorded as it is, covers exactly what was there, and replaces nothing."""

from __future__ import annotations

import hashlib
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from imgkit.custody.record import line_hash
from imgkit.errors import CustodyError
from imgkit.examination import reporting
from imgkit.reports import REPORTS

if TYPE_CHECKING:
    from pathlib import Path

    from imgkit.examination import Examination
    from tests.cli.running import Imgkit


@pytest.fixture
def case(imgkit: Imgkit, gpt_disk: str) -> Path:
    """A case with one exhibit that was looked at."""
    imgkit("case", "new", "case", "--number", "7", "--title", "Laptop").ended(0)
    imgkit("case", "add", gpt_disk, "--case", "case", "--description", "laptop").ended(0)
    imgkit("hash", gpt_disk, "--case", "case").ended(0)
    imgkit("partitions", gpt_disk, "--case", "case").ended(0)
    return imgkit.folder / "case"


def test_the_record_says_what_was_made_of_which_lines(imgkit: Imgkit, case: Path) -> None:
    for form in REPORTS:
        _is_recorded(imgkit, case, form)


def _is_recorded(imgkit: Imgkit, case: Path, form: str) -> None:
    lines = (case / "custody.jsonl").read_bytes().splitlines(keepends=True)
    words = ("case", "report", "case", "--format", form, "-o", form, "--recipient", "Court", "--json")
    document = imgkit(*words).ended(0).json
    content = (imgkit.folder / form).read_bytes()
    *_, record = imgkit.records(case / "custody.jsonl")
    sha256, head = hashlib.sha256(content).hexdigest(), line_hash(lines[-1])
    assert record["type"] == "case.exported"
    assert record["data"] == {
        "format": form,
        "sha256": sha256,
        "bytes": len(content),
        "first": 1,
        "last": len(lines),
        "head": head,
        "path": str(imgkit.folder / form),
        "recipient": "Court",
    }
    assert (document["lines"], document["head"], document["sha256"]) == ([1, len(lines)], head, sha256)
    assert document["line"] == record["seq"] == len(lines) + 1
    assert document["verdict"] == "in order"


def test_a_report_replaces_nothing_and_is_not_recorded_then(imgkit: Imgkit, case: Path) -> None:
    (imgkit.folder / "out.html").write_text("mine")
    (imgkit.folder / "dangling").symlink_to("nowhere")
    before = (case / "custody.jsonl").read_bytes()
    for name in ("out.html", "dangling", "case"):
        done = imgkit("case", "report", "case", "-o", name).ended(3)
        assert "overwrites nothing" in done.errors[0]
    assert (imgkit.folder / "out.html").read_text() == "mine"
    assert (case / "custody.jsonl").read_bytes() == before


def test_no_report_among_the_files_that_the_log_names(imgkit: Imgkit, case: Path) -> None:
    for folder in ("enclosures", "checkpoints", "receipts"):
        (case / folder).mkdir(exist_ok=True)
        done = imgkit("case", "report", "case", "-o", f"case/{folder}/out.html").ended(3)
        assert "among the files that the log names" in done.errors[0]
        assert os.listdir(case / folder) == []


@pytest.mark.parametrize("form", REPORTS)
def test_unrecorded_it_leaves_the_log_alone_and_is_the_same_twice(
    imgkit: Imgkit, case: Path, form: str
) -> None:
    before = (case / "custody.jsonl").read_bytes()
    for name in ("a", "b"):
        done = imgkit("case", "report", "case", "--no-record", "--format", form, "-o", name).ended(0)
        assert done.lines[-1].endswith("recorded nowhere")
    assert (imgkit.folder / "a").read_bytes() == (imgkit.folder / "b").read_bytes()
    assert (case / "custody.jsonl").read_bytes() == before


def test_of_a_log_that_was_tampered_with_it_says_so_and_exits_with_1(imgkit: Imgkit, case: Path) -> None:
    log = case / "custody.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"description":"laptop"', b'"description":"leptop"', 1))
    done = imgkit("case", "report", "case", "--no-record", "-o", "out.html").ended(1)
    assert "log FAILED" in done.out
    assert "The log FAILED its verification." in (imgkit.folder / "out.html").read_text()


def test_no_report_goes_to_standard_output(imgkit: Imgkit, case: Path) -> None:
    done = imgkit("case", "report", "case", "-o", "-").ended(2)
    assert "goes into a file, not to standard output" in done.errors[0]
    assert not (imgkit.folder / "-").exists()
    assert case.is_dir()


def test_formats_that_there_are_not(imgkit: Imgkit, case: Path) -> None:
    done = imgkit("case", "report", "case", "--format", "docx", "-o", "out").ended(2)
    assert "there is no report format 'docx'" in done.errors[0]
    assert not (imgkit.folder / "out").exists()
    assert case.is_dir()


def test_a_report_that_cannot_be_recorded_is_taken_away(tmp_path: Path) -> None:
    def refuse(_kind: str, _data: Any) -> int:
        raise CustodyError("no room")

    user = SimpleNamespace(uid=os.getuid(), identity=None)
    examination = SimpleNamespace(event=refuse, presence=SimpleNamespace(user=user))
    view = SimpleNamespace(lines=1, head="0" * 64)
    product = reporting.Product("html", b"page", "0" * 64, cast("Any", view))
    with pytest.raises(CustodyError, match="no room"):
        reporting.export(cast("Examination", examination), product, str(tmp_path / "out.html"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "huge"])
def test_what_is_no_enclosure_is_not_read(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "enclosures" / "note.txt"
    place.parent.mkdir()
    if kind == "directory":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "link":
        (tmp_path / "note.txt").write_bytes(b"note")
        place.symlink_to(tmp_path / "note.txt")
    else:
        place.touch()
        os.truncate(place, reporting.LARGEST + 1)
    before = len(os.listdir("/proc/self/fd"))
    assert reporting.enclosures_in(str(tmp_path))(hashlib.sha256(b"note").hexdigest(), "note.txt") is None
    assert len(os.listdir("/proc/self/fd")) == before
