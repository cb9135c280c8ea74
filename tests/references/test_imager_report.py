"""Reports of imagers: their digests are of the media, whatever the container; and what only looks like one is none."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.references import find_references
from imgkit.references.imager_report import IMAGERS, imager_of, read
from tests.containers.sets import media

if TYPE_CHECKING:
    from pathlib import Path

MD5, SHA1, SHA256 = "a" * 32, "b" * 40, "c" * 64

FTK = f"""Created By AccessData\u00ae FTK\u00ae Imager 3.1.4.6

Case Information:
Notes: MD5 checksum: {"f" * 32} of another stick

Information for C:\\cases\\stick:

[Computed Hashes]
 MD5 checksum:    {MD5}
 SHA1 checksum:   {SHA1}

Image Information:
 Segment list:
  C:\\cases\\stick.E01
  C:\\cases\\stick.E02

Image Verification Results:
 MD5 checksum:    {MD5} : verified
 SHA1 checksum:   {SHA1} : verified
"""
GUYMAGER = f"""
GUYMAGER ACQUISITION INFO FILE
==============================

Image path and file name: /root/evidence1.Exx
Info  path and file name: /root/evidence1.info
MD5 hash                   : {MD5}
MD5 hash verified source   : --
MD5 hash verified image    : {MD5}
SHA1 hash                  : --
SHA256 hash                : {SHA256}
SHA256 hash verified source: --
"""
EWFACQUIRE = f"MD5 hash calculated over data:\t\t{MD5}\nSHA1 hash stored in file:\t\tN/A\n"


@pytest.mark.parametrize(
    ("text", "imager", "digests", "name"),
    [
        (FTK, "FTK Imager", [MD5, SHA1, MD5, SHA1], "C:\\cases\\stick.E01"),
        (
            FTK.replace("AccessData\u00ae", "Exterro\u00ae"),
            "FTK Imager",
            [MD5, SHA1, MD5, SHA1],
            "C:\\cases\\stick.E01",
        ),
        (GUYMAGER, "Guymager", [MD5, MD5, SHA256], "/root/evidence1.Exx"),
        (EWFACQUIRE, "ewfacquire", [MD5], None),
    ],
    ids=["ftk", "exterro", "guymager", "ewfacquire"],
)
@pytest.mark.parametrize("end", ["", "\r"])
def test_what_a_report_states(text: str, imager: str, digests: list[str], name: str | None, end: str) -> None:
    lines = [line + end for line in text.split("\n")]
    found = imager_of(lines)
    assert found is not None
    assert found.name == imager
    statements = read(lines, found)
    assert [item.digest.value for item in statements] == digests
    assert {item.name for item in statements} == {name}
    assert all(item.digest.value in lines[item.line - 1] for item in statements)


@pytest.mark.parametrize(
    "text",
    ["", "\0" * 5000, f"MD5 checksum: {MD5}\n", f"{MD5}  disk.dd\n", "\n" * 30 + FTK, "x" * 5000 + FTK],
    ids=["empty", "nul", "a line of one", "a list", "too far down", "too long a line"],
)
def test_what_is_no_report(text: str) -> None:
    assert imager_of(text.split("\n")) is None


@pytest.mark.parametrize("label", ["Image path and file name:", "Image path and filename:"])
def test_labels_with_nothing_but_white_space_behind(label: str) -> None:
    """A pattern that tries every way to share out the white space needs minutes for a report of such lines."""
    for row in IMAGERS:
        assert read([label + " " * 4000] * 300, row) == []


def test_lines_that_are_cut_or_too_long_state_nothing() -> None:
    lines = [
        "GUYMAGER ACQUISITION INFO FILE",
        f"MD5 hash : {MD5[:-1]}",
        f"SHA1 hash : {MD5}",
        " " * 5000 + f"MD5 hash : {MD5}",
    ]
    found = imager_of(lines)
    assert found is not None
    assert read(lines, found) == []


def test_a_real_log_of_ewfacquire(tmp_path: Path) -> None:
    content = media(100_000 // 512 * 512)
    (tmp_path / "source").write_bytes(content)
    argv = ["ewfacquire", "-u", "-q", "-d", "sha1", "-l", "disk.log", "-t", "disk", "source"]
    subprocess.run(argv, check=True, capture_output=True, cwd=tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with open_image(tmp_path / "disk.E01") as image:
        beside = find_references(image).references
        moved = (tmp_path / "disk.log").rename(tmp_path / "elsewhere/notes.txt")
        named = find_references(image, against=[str(moved)]).references
    for found in (beside, named):
        assert [(item.of, item.source.kind) for item in found] == [("media", "report")] * len(found)
        assert {item.digest.value for item in found} >= {
            hashlib.sha1(content, usedforsecurity=False).hexdigest()
        }


def test_reports_that_are_no_evidence_of_anything_keep_nothing_else_from_being_used(tmp_path: Path) -> None:
    (tmp_path / "disk.dd").write_bytes(b"x")
    (tmp_path / "disk.txt").write_text(FTK)  # named after this image, whatever it lists
    (tmp_path / "disk.log").mkdir()
    (tmp_path / "SHA256SUMS").write_text(f"{SHA256}  disk.dd\n")
    with open_image(tmp_path / "disk.dd") as image:
        found = find_references(image)
    assert [item.source.kind for item in found.references] == ["sidecar", *["report"] * 4]
    assert found.unusable == ()


def test_files_of_one_name_in_a_chain_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for folder in ("base", "over"):
        (tmp_path / folder).mkdir()
    base, over = tmp_path / "base/disk.qcow2", tmp_path / "over/disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", base, "1M"], check=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", over], check=True)
    lines = f"{'a' * 64}  over/disk.qcow2\n{'b' * 64}  base/disk.qcow2\n"
    (tmp_path / "SHA256SUMS").write_text(lines)
    (tmp_path / "over/SHA256SUMS").write_text(f"{'c' * 64}  disk.qcow2\n")
    with open_image(over) as image:
        found = find_references(image, against=[str(tmp_path / "SHA256SUMS")])
    assert [(item.digest.value[0], item.of) for item in found.references] == [
        ("a", "segment:0"),
        ("b", "segment:1"),
        ("c", "segment:0"),
    ]
