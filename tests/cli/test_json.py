"""`--json` prints exactly one valid document, whatever happens; `--jsonl` one a line."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.running import Imgkit

DISK = "disk.dd"

# command -> (words that succeed, words that fail with 3, words that are wrong usage); None where there are none
CASES: dict[str, tuple[tuple[str, ...] | None, tuple[str, ...] | None, tuple[str, ...] | None]] = {
    "info": ((DISK,), ("missing.dd",), (DISK, "--sector-size", "3")),
    "hash": ((DISK,), ("missing.dd",), (DISK, "-a", "none")),
    "verify": ((DISK, "--against", "SHA256SUMS"), ("missing.dd",), (DISK, "--expect", "none")),
    "partitions": ((DISK,), ("missing.dd",), ()),
    "attach": (None, ("missing.dd",), (DISK, "--offset", "0")),
    "detach": (None, ("missing.dd",), ()),
    "mount": (None, ("missing.dd",), (DISK, "-p", "x")),
    "unmount": (None, ("missing.dd",), ()),
    "status": ((), None, ("too", "many")),
    "doctor": ((), None, ("--nonsense",)),
    "doctor --print-udev-rule": ((), None, ("--nonsense",)),
    "case new": (("other",), ("case",), ()),
    "case add": (("second.dd",), ("missing.dd",), (DISK, "--digest", "x")),
    "case note": (("seal broken",), ("text", "--case", "nowhere"), ()),
    "case enclose": (("report.pdf",), ("missing.pdf",), ()),
    "case correct": (
        ("2", "data.files.0.path", "/disk.dd", "--why", "moved"),
        ("1", "seq", "2", "--why", "x", "--case", "nowhere"),
        ("1", "seq", "1", "--why", "x"),
    ),
    "case show": ((), ("nowhere",), ("a", "b", "c")),
    "log show": ((), ("nowhere",), ("a", "b", "c")),
    "log verify": ((), ("nowhere",), ("a", "b", "c")),
    "log accept-rollback": (None, ("nowhere", "--reason", "restored"), ()),
}
SCHEMAS = {"doctor --print-udev-rule": "imgkit.doctor.v1"}


def prepare(imgkit: Imgkit) -> None:
    """A case with one exhibit, and files that the commands name."""
    imgkit.case()
    imgkit.env["IMGKIT_CASE"] = str(imgkit.folder / "case")
    imgkit.image()
    imgkit.image("second.dd", b"second image" * 128)
    imgkit.image("report.pdf", b"%PDF")
    sums = imgkit("hash", DISK, "-a", "sha256").ended(0)
    (imgkit.folder / "SHA256SUMS").write_text(sums.out, encoding="utf-8")


@pytest.mark.parametrize("command", CASES)
def test_one_document_whether_it_succeeds_or_fails(imgkit: Imgkit, command: str) -> None:
    prepare(imgkit)
    schema = SCHEMAS.get(command, "imgkit." + command.replace(" ", ".") + ".v1")
    for words, code in zip(CASES[command], (0, 3, 2), strict=True):
        if words is None:
            continue
        done = imgkit(*command.split(), *words, "--json").ended(code)
        assert done.out.count("\n") == 1
        document = done.json
        if code == 0:
            assert document["schema"] == schema
            continue
        assert document["schema"] == "imgkit.error.v1"
        assert set(document["error"]) == {"kind", "message", "hint"}
        assert done.errors == [f"imgkit: error: {document['error']['message']}"]


def test_a_mismatch_is_a_document_and_no_error(imgkit: Imgkit) -> None:
    done = imgkit("verify", imgkit.image(), "--expect", "md5:" + "0" * 32, "--json").ended(1)
    (entry,) = done.json["images"]
    assert entry["verdict"] == "mismatch"
    assert entry["comparisons"][0] | {"actual": ""} == {
        "algorithm": "md5",
        "expected": "0" * 32,
        "actual": "",
        "matches": False,
        "source": {"kind": "option", "origin": "acquisition", "protection": "loose"},
    }


def test_no_reference_is_a_document_and_no_error(imgkit: Imgkit) -> None:
    done = imgkit("verify", imgkit.image(), "--json").ended(3)
    assert done.json["images"][0]["verdict"] == "no-reference"


def test_the_documents_name_the_records_that_the_command_wrote(imgkit: Imgkit) -> None:
    image = imgkit.image()
    for words in (("info", image), ("hash", image), ("verify", image), ("partitions", image)):
        before = len(imgkit.records()) if imgkit.own_log.exists() else 1
        records = imgkit(*words, "--json").json["records"]
        assert records["seq"] == [before + 1, len(imgkit.records())]
        assert records["log"] == imgkit.records()[0]["log"]


def test_many_images_are_one_document_with_all_in_order(imgkit: Imgkit) -> None:
    names = [imgkit.image(f"{name}.dd", name.encode() * 512).name for name in "cab"]
    done = imgkit("hash", *names, "--json").ended(0)
    assert [os.path.basename(entry["image"]["path"]) for entry in done.json["images"]] == names


def test_jsonl_is_one_document_a_line_also_for_what_failed(imgkit: Imgkit) -> None:
    imgkit.image("a.dd")
    imgkit.image("b.dd")
    done = imgkit("hash", "a.dd", "missing.dd", "b.dd", "--jsonl").ended(3)
    documents = [json.loads(line) for line in done.lines]
    assert [document["schema"] for document in documents] == ["imgkit.hash.v1"] * 3
    assert ["error" in document["images"][0] for document in documents] == [False, True, False]


def test_progress_json_is_lines_on_stderr(imgkit: Imgkit) -> None:
    path = imgkit.folder / "big.dd"
    with path.open("xb") as file:
        file.truncate(1 << 40)
    process = imgkit.popen("hash", path, "-a", "md5", "--progress", "json", "--json")
    try:
        assert process.stderr is not None
        told = [process.stderr.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert json.loads(out)["error"]["kind"] == "interrupted"
    lines = [json.loads(line) for line in told if line.startswith(b"{")]
    assert len(lines) == 2  # one a second, after the line that says who acts
    for line in lines:
        assert set(line) == {"progress", "done", "total", "rate", "seconds_left"}
        assert 0 < line["done"] < line["total"] == 1 << 40
    assert lines[0]["done"] < lines[1]["done"]


def test_a_name_that_is_no_utf8_is_valid_json(imgkit: Imgkit) -> None:
    imgkit.image(b"caf\xe9.dd")
    for command in ("info", "hash", "partitions", "verify"):
        done = imgkit(command, b"caf\xe9.dd", "--json")
        done.out.encode("ascii")
        assert "\\udce9" not in done.out  # no lone surrogate: stricter readers than Python's refuse it
        image = done.json["images"][0]["image"] if "images" in done.json else done.json["image"]
        assert image["path"].endswith("caf\\xe9.dd")
        assert "path_b64" in image
    done = imgkit("hash", b"\xe9\x1b.dd", "--json").ended(3)
    assert "\\\\xe9\\\\x1b" in done.out
