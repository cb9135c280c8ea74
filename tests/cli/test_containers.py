"""Containers on the command line: what is shown, what other programs can check, what is said where bytes are bad."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.containers.ewf_writer import Layout, Recipe, write_ewf
from tests.containers.sets import media

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.running import Imgkit

CONTENT = media(20 * 32768)
HOSTILE = "Jane\u202eDoe \x1b[31m<b>&amp;"
HEADER2 = (
    "3\nmain\nc\tn\ta\te\tt\tav\tov\tm\tu\tp\n"
    f"case 7\titem 1\ta disk\t{HOSTILE}\tnote\tIm 4.2\tWindows 10\t1767323045\t1767326645\t0\n\n"
)


def e01(imgkit: Imgkit, **recipe: Any) -> Layout:
    return write_ewf(imgkit.folder, CONTENT, Recipe(chunks_per_segment=5, **recipe))


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        was = file.read(1)
        file.seek(offset)
        file.write(bytes([was[0] ^ 0xFF]))


def test_info_shows_what_the_container_states_and_nothing_of_it_reaches_the_terminal(imgkit: Imgkit) -> None:
    e01(imgkit, header2=HEADER2, errors=((3, 2),))
    for said in (imgkit("info", "disk.E02").ended(0).out, imgkit.on_terminal("info", "disk.E02")):
        assert "4 of 4 segments, in order, whole" in said
        assert "case 7" in said
        assert "1767323045 (2026-01-02 03:04:05 UTC)" in said
        assert "2026 1 2 3 4 5" in said
        assert "\u202e" not in said
        assert "\x1b[31m" not in said
        assert "Jane\\u202eDoe \\x1b[31m" in said
        assert "1536" in said  # bytes of the media from which nothing could be acquired
    document = imgkit("info", "disk.E02", "--json").ended(0).json
    assert document["acquisition"]["examiner"].startswith("Jane\u202eDoe \x1b[31m<b>")
    assert document["acquisition_errors"] == [{"offset": 3 * 512, "length": 2 * 512}]
    assert document["complete"] is True
    assert document["stored_digests"] == {"md5": hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}


def test_what_two_headers_state_differently_has_a_line_for_each_field(imgkit: Imgkit) -> None:
    e01(imgkit, header2=HEADER2)
    lines = imgkit("info", "disk.E01").ended(0).out.splitlines()
    differing = [line.split("field ", 1)[1] for line in lines if line.startswith("acquisition differences")]
    document = imgkit("info", "disk.E01", "--json").ended(0).json["acquisition"]["differences"]
    assert len(differing) == len(document) > 1
    assert differing[0].startswith(f"{document[0]['field']}, header2 case 7, header ")


@pytest.mark.parametrize("command", ["info", "hash", "partitions", "case add"])
def test_more_media_than_a_record_can_tell_of(imgkit: Imgkit, command: str) -> None:
    """The tables of a qcow2 reach to 2 EiB; numbers of a record are exact below 8 PiB."""
    create = ("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M")
    subprocess.run([*create, imgkit.folder / "d.qcow2", str(2**53)], check=True)
    imgkit("case", "new", "case").ended(0)
    done = imgkit(*command.split(), "d.qcow2", "--case", "case").ended(3)
    (error,) = done.errors
    assert "d.qcow2 states 9007199254740992 bytes of media" in error
    imgkit("log", "verify", "case").ended(0)


def test_the_log_of_containers_verifies(imgkit: Imgkit) -> None:
    layout = e01(imgkit)
    case = imgkit.case()
    flip(layout.paths[1], layout.chunks_of(1)[0].offset + 100)
    imgkit("case", "add", "disk.E03", "--case", case).ended(0)
    for words in (("info",), ("hash",), ("hash", "--container"), ("verify",), ("partitions",)):
        imgkit(*words, "disk.E01", "--case", case)
    imgkit("log", "verify", case).ended(0)
    added, *others = (item for item in imgkit.records(case / "custody.jsonl") if item["phase"] == "intent")
    assert {item["exhibit"] for item in (added, *others)} == {"EX1"}
    assert all(
        item["data"]["format"] == "ewf" and len(item["data"]["files"]) == 4 for item in (added, *others)
    )
    assert added["data"]["set_identifier"]
    shown = imgkit("case", "show", case, "--json").ended(0).json
    (exhibit,) = shown["exhibits"]
    assert (exhibit["format"], exhibit["segments"], exhibit["verdict"]) == ("ewf", 4, "unreadable")


def test_no_file_of_a_set_is_copied_into_a_case(imgkit: Imgkit) -> None:
    e01(imgkit)
    case = imgkit.case()
    imgkit("case", "add", "disk.E01", "--case", case).ended(0)
    (imgkit.folder / "disk.E03").rename(imgkit.folder / "report.pdf")
    for name in ("disk.E01", "disk.E02", "report.pdf"):
        done = imgkit("case", "enclose", name, "--case", case).ended(2)
        assert "evidence is never copied into a case" in done.err
    imgkit("case", "enclose", imgkit.image("notes.txt", b"x"), "--case", case).ended(0)


def test_lines_of_the_files_are_checked_by_their_tools(imgkit: Imgkit) -> None:
    e01(imgkit)
    (imgkit.folder / "sub").mkdir()
    done = imgkit("hash", "--container", "-a", "sha256", "disk.E03").ended(0)
    assert [line.split("  ")[1] for line in done.lines] == [f"disk.E0{number}" for number in range(1, 5)]
    for folder, name in ((imgkit.folder, "disk.E02"), (imgkit.folder / "sub", "../disk.E01")):
        for algorithm, tool in (("sha256", "sha256sum"), ("md5", "md5sum"), ("blake3", "b3sum")):
            lines = imgkit("hash", "--container", "-a", algorithm, name, cwd=folder).ended(0).out
            checked = subprocess.run(
                [tool, "--check"], input=lines.encode(), cwd=folder, capture_output=True, check=True
            )
            assert checked.stdout.count(b": OK") == 4
    media_line = imgkit("hash", "-a", "sha256", "disk.E03").ended(0).out
    assert media_line == f"{hashlib.sha256(CONTENT).hexdigest()}  media:disk.E03\n"


def test_what_hash_writes_of_either_kind_verify_reads(imgkit: Imgkit) -> None:
    e01(imgkit)
    lines = imgkit("hash", "disk.E01").ended(0).out + imgkit("hash", "--container", "disk.E01").ended(0).out
    (imgkit.folder / "SHA256SUMS").write_text(lines)
    other: dict[str, str | None] = {
        "XDG_STATE_HOME": str(imgkit.base / "elsewhere")
    }  # a log that has no digest of its own
    entries = imgkit("verify", "disk.E02", "--json", env=other).ended(0).json["images"]
    assert [(item["of"], item["verdict"]) for item in entries] == [
        ("media", "match"),
        *((f"segment:{number}", "match") for number in range(4)),
    ]
    assert [len(item["comparisons"]) for item in entries] == [3, 2, 2, 2, 2]


def test_a_bad_chunk_on_the_screen_and_in_the_document(imgkit: Imgkit) -> None:
    layout = e01(imgkit)
    bad = layout.chunks_of(2)[1]
    flip(layout.paths[2], bad.offset + 50)
    done = imgkit("verify", "disk.E01").ended(3)
    assert "verdict: unreadable" in done.lines
    assert (
        f"cannot read 32768 bytes at {bad.media_offset}: chunk {bad.number} of segment {layout.paths[2]}"
        in done.err
    )
    (entry,) = imgkit("verify", "disk.E01", "--zero-fill-digest", "--json").ended(3).json["images"]
    (error,) = entry["read_errors"]
    assert (error["offset"], error["length"], entry["read_error_count"]) == (bad.media_offset, 32768, 1)
    assert str(layout.paths[2]) in error["reason"]
    assert (entry["digests"], entry["comparisons"]) == ({}, [])
    filled = bytearray(CONTENT)
    filled[bad.media_offset : bad.media_offset + 32768] = bytes(32768)
    assert entry["zero_filled_digests"]["sha256"] == hashlib.sha256(filled).hexdigest()
    assert imgkit("hash", "-a", "sha256", "disk.E01").ended(3).out == ""


def test_info_of_an_image_whose_first_chunk_is_bad_says_what_it_can(imgkit: Imgkit) -> None:
    layout = e01(imgkit)
    flip(layout.paths[0], layout.chunks_of(0)[0].offset + 50)
    done = imgkit("info", "disk.E01").ended(3)
    assert "4 of 4 segments" in done.out
    assert len(done.errors) == 1
    document = imgkit("info", "disk.E01", "--json").ended(3).json
    assert document["table"]["scheme"] == "unknown"
    assert "chunk 0" in document["unreadable"][0]
    assert imgkit.records()[-1]["data"]["unreadable"] == document["unreadable"]


def test_a_set_with_a_hole_is_refused_by_every_command(imgkit: Imgkit) -> None:
    layout = e01(imgkit)
    layout.paths[1].unlink()
    for words in (("info",), ("hash",), ("verify",), ("partitions",), ("case", "add")):
        error = imgkit(*words, "disk.E01", "--json").ended(3).json
        body = error["images"][0]["error"] if "images" in error else error["error"]
        assert body["kind"] == "image.missing-segment"
        assert "disk.E02" in body["message"]
        assert body["hint"]


@pytest.mark.parametrize("name", ["disk.Ex01", "disk.dd"])
def test_an_unread_format_is_refused_by_name(imgkit: Imgkit, name: str) -> None:
    imgkit.image(name, b"EVF2\r\n\x81\x00" + bytes(5000))
    for command in ("info", "hash", "verify", "partitions"):
        done = imgkit(command, name).ended(3)
        assert done.errors == [
            f"imgkit: error: {imgkit.folder / name} is Ex01 (EWF 2), which imgkit does not read"
        ]
        assert "hint: " in done.err
        assert done.out == ""


def test_a_set_of_hundreds_keeps_its_list_beside_the_log(imgkit: Imgkit) -> None:
    content = media(150 * 512)
    write_ewf(imgkit.folder, content, Recipe(sectors_per_chunk=1, chunks_per_segment=1))
    case = imgkit.case()
    document = imgkit("hash", "-a", "sha256", "disk.EAA", "--case", case, "--json").ended(0).json
    image = document["images"][0]["image"]
    assert (image["segments"], image["segment_count"]) == ([], 150)
    assert document["images"][0]["digests"] == {"sha256": hashlib.sha256(content).hexdigest()}
    record = imgkit.records(case / "custody.jsonl")[-1]["data"]
    assert record["files_after"]["count"] == 150
    enclosed = json.loads((case / "enclosures" / record["files_after"]["enclosure"]).read_text())
    assert [item["path"] for item in enclosed][::149] == [
        str(imgkit.folder / f"disk.{end}") for end in ("E01", "EBY")
    ]
    assert imgkit("hash", "disk.E77", "--case", case).ended(0).out.count("media:disk.E77") == 2
    assert len(imgkit("case", "show", case, "--json").ended(0).json["exhibits"]) == 1
    imgkit("log", "verify", case).ended(0)
