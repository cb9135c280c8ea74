"""One disk in every container: the same digests, the same table, the same verdicts, whatever it is stored in."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.containers import open_image
from imgkit.examination import Examination
from imgkit.examination.casework import add_exhibit
from imgkit.examination.reading import read_error_documents
from imgkit.hashing import Digest, hash_range
from imgkit.image import Extent
from tests.conftest import need
from tests.containers.ewf_writer import Recipe, checked, write_ewf
from tests.containers.made import FORMATS, MIB, PARTITIONS, SIZE, run, store_in_all, write_disk
from tests.containers.sets import media

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.examination.verifying import Verified

Record = dict[str, Any]
pytestmark = pytest.mark.xdist_group("containers")  # the files are made once


def of_file(path: Path, algorithm: str = "sha256") -> str:
    with open(os.open(path, os.O_RDONLY | os.O_NOATIME), "rb") as file:
        return hashlib.new(algorithm, file.read(), usedforsecurity=False).hexdigest()


def stats(folder: Path) -> dict[str, tuple[int, ...]]:
    found = {path.name: path.stat() for path in sorted(folder.iterdir())}
    return {
        name: (item.st_size, item.st_ino, item.st_mtime_ns, item.st_ctime_ns, item.st_atime_ns)
        for name, item in found.items()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The disk as `disk.dd` in a folder of its own, and its containers; read by every test here and changed by none."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "raw").mkdir()
    (folder / "in").mkdir()
    write_disk(folder / "raw/disk.dd")
    store_in_all(folder / "raw/disk.dd", folder / "in")
    shutil.copytree(folder / "in", folder / "copies")  # for those who copy: that renews access times
    before = stats(folder / "in")
    digests = {path.name: of_file(path) for path in (folder / "in").iterdir()}
    yield folder
    assert stats(folder / "in") == before
    assert {path.name: of_file(path) for path in (folder / "in").iterdir()} == digests


@pytest.fixture(scope="module")
def truth(made: Path) -> bytes:
    return (made / "raw/disk.dd").read_bytes()


@pytest.fixture
def examination(tmp_path: Path) -> Iterator[Examination]:
    environ = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    os.chdir(tmp_path)
    with Examination.open(examiner="Jane Doe <jane@lab>", argv=["test"], environ=environ) as opened:
        yield opened


@pytest.fixture
def mine(made: Path, tmp_path: Path) -> Path:
    """A folder of one's own with the E01 set, to be damaged and described."""
    folder = tmp_path / "set"
    folder.mkdir()
    for path in (made / "copies").glob("disk.E0*"):
        shutil.copy2(path, folder / path.name)
    return folder


def verify(examination: Examination, path: Path, **options: Any) -> Verified:
    with examination.evidence(str(path)) as evidence:
        return examination.verify(evidence, **options)


def outcomes(examination: Examination, kind: str) -> list[Record]:
    return [
        record["data"]
        for record in examination.log.records()
        if record["type"] == kind and record["phase"] == "outcome"
    ]


# -- the same whatever it is stored in ---------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_digests_are_of_the_media(examination: Examination, made: Path, truth: bytes, name: str) -> None:
    with examination.evidence(str(made / "in" / name)) as evidence:
        assert (evidence.image.format, evidence.image.size) == (FORMATS[name], SIZE)
        found = examination.hash(evidence, algorithms=["sha256", "md5"])
        parts = examination.hash(evidence, algorithms=["sha256"], partitions=[1, 2]).parts
    assert [str(digest) for digest in found.parts[0].digests] == [
        f"sha256:{hashlib.sha256(truth).hexdigest()}",
        f"md5:{hashlib.md5(truth, usedforsecurity=False).hexdigest()}",
    ]
    for part, (offset, length) in zip(parts, PARTITIONS, strict=True):
        assert part.digests[0].value == hashlib.sha256(truth[offset : offset + length]).hexdigest()


@pytest.mark.parametrize("name", FORMATS)
def test_table_and_file_systems_are_those_of_the_disk(
    examination: Examination, made: Path, name: str
) -> None:
    documents = []
    for path in (made / "raw/disk.dd", made / "in" / name):
        with examination.evidence(str(path)) as evidence:
            documents.append(examination.partitions(evidence))
    raw, stored = (
        {key: value for key, value in item.items() if key not in {"image", "exhibit"}} for item in documents
    )
    assert stored == raw
    assert [item["filesystem"]["type"] for item in stored["partitions"]] == ["ext4", "vfat"]
    assert [item["filesystem"]["label"] for item in stored["partitions"]] == ["inner", "STICK"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_verify_holds_the_media_against_what_is_stated_of_it(
    examination: Examination, made: Path, truth: bytes, name: str
) -> None:
    right = Digest("sha256", hashlib.sha256(truth).hexdigest())
    found = verify(examination, made / "in" / name, expected=[right])
    assert (found.verdict, found.unusable) == ("match", ())
    wrong = verify(examination, made / "in" / name, expected=[Digest("sha256", "0" * 64)])
    assert wrong.verdict == "mismatch"


@pytest.mark.parametrize("name", FORMATS)
def test_info_says_what_is_checked(examination: Examination, made: Path, name: str) -> None:
    with examination.evidence(str(made / "in" / name)) as evidence:
        document = examination.info(evidence)
        files = len(evidence.image.segments)
    assert document["complete"] is True
    assert document["completeness"]["files"] == files
    assert document["completeness"]["checked"]
    assert document["table"] == {"scheme": "gpt", "partitions": 2}
    assert document["sparse"]["data"] + document["sparse"]["holes"] == SIZE


@pytest.mark.parametrize("name", ["disk.qcow2", "dynamic.vhd", "dynamic.vhdx"])
def test_a_file_whose_last_blocks_are_missing_is_not_called_whole(
    examination: Examination, made: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    shutil.copyfile(made / "copies" / name, path)
    os.truncate(path, path.stat().st_size * 3 // 4)
    with examination.evidence(str(path)) as evidence:
        document = examination.info(evidence)
    assert document["complete"] is False
    assert document["completeness"]["cut_short"] == [str(path)]
    assert document["completeness"]["text"].startswith(f"cut short: {name}")
    assert any("cut short" in text for text in document["notices"])


def test_a_chain_whose_parent_is_cut_short_is_not_called_whole(
    examination: Examination, made: Path, tmp_path: Path
) -> None:
    for name in ("over.qcow2", "disk.qcow2"):
        shutil.copyfile(made / "copies" / name, tmp_path / name)
    os.truncate(tmp_path / "disk.qcow2", (tmp_path / "disk.qcow2").stat().st_size * 3 // 4)
    with examination.evidence(str(tmp_path / "over.qcow2")) as evidence:
        document = examination.info(evidence)
    assert document["completeness"]["cut_short"] == [str(tmp_path / "disk.qcow2")]


@pytest.mark.parametrize("name", FORMATS)
def test_records_name_every_file_and_the_format(examination: Examination, made: Path, name: str) -> None:
    with examination.evidence(str(made / "in" / name)) as evidence:
        examination.hash(evidence, algorithms=["md5"])
        segments = evidence.image.segments
    for kind in ("evidence.added", "evidence.hashed"):
        (intent,) = [
            record["data"]
            for record in examination.log.records()
            if record["type"] == kind and record["phase"] == "intent"
        ]
        assert intent["format"] == FORMATS[name]
        assert [(item["path"], item["bytes"], item.get("role", "segment")) for item in intent["files"]] == [
            (segment.path, segment.size, segment.role) for segment in segments
        ]
        assert all({"dev", "ino", "mtime", "ctime"} <= set(item) for item in intent["files"])


def test_an_e01_is_added_with_what_it_states(examination: Examination, made: Path) -> None:
    add_exhibit(examination, str(made / "in/disk.E01"), {})
    (added,) = [
        item
        for item in examination.log.records()
        if item["type"] == "evidence.added" and item["phase"] == "intent"
    ]
    with open_image(made / "in/disk.E01") as image:
        assert added["data"]["stored_digests"] == {
            item.algorithm: item.value for item in image.stored_digests
        }
    assert (added["data"]["format"], added["data"]["size"]) == ("ewf", SIZE)


def test_digests_that_contradict_each_other_are_both_shown_and_recorded(
    examination: Examination, tmp_path: Path
) -> None:
    layout = write_ewf(tmp_path, bytes(512), Recipe(stored_md5=b"A" * 16, stored_sha1=True))
    digest = layout.find("digest").payload
    body = bytearray(layout.paths[0].read_bytes())
    body[digest : digest + 80] = checked(b"B" * 16 + bytes(20) + bytes(40))
    layout.paths[0].write_bytes(body)
    with examination.evidence(str(layout.paths[0])) as evidence:
        document = examination.info(evidence)
    expected = {"stored_digests": {"md5": "42" * 16}, "disputed_digests": {"md5": "41" * 16}}
    assert {key: document[key] for key in expected} == expected
    for kind, phase in (("evidence.added", "intent"), ("evidence.inspected", "outcome")):
        (data,) = [
            item["data"]
            for item in examination.log.records()
            if (item["type"], item["phase"]) == (kind, phase)
        ]
        assert {key: data[key] for key in expected} == expected


def test_any_file_of_a_set_is_the_same_exhibit(examination: Examination, mine: Path) -> None:
    names = []
    for name in ("disk.E03", "disk.E01", "disk.E04"):
        with examination.evidence(str(mine / name)) as evidence:
            names.append(evidence.exhibit)
    moved = mine.rename(mine.with_name("moved"))
    with examination.evidence(str(moved / "disk.E02")) as evidence:
        names.append(evidence.exhibit)
    assert names == ["EX1"] * 4


def test_what_an_image_builds_upon_is_an_exhibit_of_its_own(examination: Examination, made: Path) -> None:
    with (
        examination.evidence(str(made / "in/over.qcow2")) as over,
        examination.evidence(str(made / "in/disk.qcow2")) as base,
    ):
        assert (over.exhibit, base.exhibit) == ("EX1", "EX2")
        assert [item.role for item in over.image.segments] == ["segment", "parent"]


def test_what_an_e01_says_of_its_acquisition_is_shown(examination: Examination, made: Path) -> None:
    with examination.evidence(str(made / "in/disk.E02")) as evidence:
        document = examination.info(evidence)
    assert document["completeness"]["text"] == "4 of 4 segments, in order, whole"
    said = document["acquisition"]
    assert (said["case_number"], said["evidence_number"], said["examiner"]) == (
        "case 7",
        "item 1",
        "Jane Doe",
    )
    assert isinstance(said["acquired_epoch"], int)
    assert said["acquired_date"]
    assert set(document["stored_digests"]) == {"md5", "sha1"}
    assert document["container"]["chunk_size"] == 32768


def test_snapshots_and_the_chain_are_shown(examination: Examination, made: Path) -> None:
    with examination.evidence(str(made / "in/over.qcow2")) as evidence:
        document = examination.info(evidence)
    assert [item["name"] for item in document["snapshots"]] == ["before"]
    assert [item["path"] for item in document["chain"]] == [str(made / "in/disk.qcow2")]
    assert (document["completeness"]["segments"], document["completeness"]["parents"]) == (1, 1)


# -- digests of files and of media -------------------------------------------------------------------


def test_files_are_hashed_as_they_lie_and_never_mixed_with_the_media(
    examination: Examination, made: Path
) -> None:
    for name in ("disk.E02", "over.qcow2", "flat.vmdk", "dynamic.vhd", "cut.000"):
        with examination.evidence(str(made / "in" / name)) as evidence:
            found = examination.hash(evidence, algorithms=["sha256"], container=True)
            segments = evidence.image.segments
        assert [part.digests[0].value for part in found.parts] == [
            of_file(Path(segment.path)) for segment in segments
        ]
        assert [part.part.name for part in found.parts] == [segment.path for segment in segments]
        of = [f"segment:{number}" for number in range(len(segments))] if len(segments) > 1 else ["container"]
        assert [part.part.of for part in found.parts] == of


def test_the_digests_a_container_stores_are_a_reference(examination: Examination, made: Path) -> None:
    found = verify(examination, made / "in/disk.E04")
    assert found.verdict == "match"
    sources = [item.reference.source for item in found.parts[0].comparisons]
    assert [(item.kind, item.origin) for item in sources] == [("container", "container")] * 2


def test_a_list_of_segments_is_held_against_the_segments(examination: Examination, mine: Path) -> None:
    names = sorted(path.name for path in mine.iterdir())
    (mine / "SHA256SUMS").write_text("".join(f"{of_file(mine / name)}  {name}\n" for name in names))
    found = verify(examination, mine / "disk.E02")
    assert found.verdict == "match"
    assert [part.part.of for part in found.parts] == ["media", *(f"segment:{number}" for number in range(4))]
    assert all(item.matches for part in found.parts for item in part.comparisons)
    (mine / "SHA256SUMS").write_text(f"{'0' * 64}  {names[3]}\n")
    found = verify(examination, mine / "disk.E01")
    assert found.verdict == "mismatch"
    (last,) = (part for part in found.parts if part.part.of == "segment:3")
    assert [item.matches for item in last.comparisons] == [False, True]  # the list, and our own record
    assert outcomes(examination, "evidence.verified")[-1]["overall"] == "mismatch"


def test_a_sidecar_of_the_first_segment_is_of_that_file(examination: Examination, mine: Path) -> None:
    (mine / "disk.E01.md5").write_text(of_file(mine / "disk.E01", "md5"))
    found = verify(examination, mine / "disk.E01")
    assert [part.part.of for part in found.parts] == ["media", "segment:0"]
    assert found.verdict == "match"


def test_a_list_of_a_single_file_is_of_the_container(
    examination: Examination, made: Path, tmp_path: Path
) -> None:
    path = tmp_path / "disk.qcow2"
    shutil.copy(made / "copies/disk.qcow2", path)
    (tmp_path / "disk.qcow2.sha256").write_text(f"{of_file(path)}  disk.qcow2\n")
    found = verify(examination, path)
    assert [(part.part.of, [item.matches for item in part.comparisons]) for part in found.parts] == [
        ("media", []),
        ("container", [True]),
    ]
    assert found.verdict == "match"


def test_media_lines_of_our_own_hash_are_of_the_media(
    examination: Examination, mine: Path, truth: bytes
) -> None:
    digest = hashlib.sha256(truth).hexdigest()
    for name in ("media:disk.E01", f"media:{mine}/disk.E03"):
        (mine / "SHA256SUMS").write_text(f"{digest}  {name}\n")
        found = verify(examination, mine / "disk.E01")
        assert len(found.parts) == 1
        assert "sidecar" in {item.reference.source.kind for item in found.parts[0].comparisons}
        assert found.verdict == "match"


def test_a_raw_file_of_that_stem_in_a_list_is_told_and_not_used(
    examination: Examination, mine: Path, truth: bytes
) -> None:
    (mine / "SHA256SUMS").write_text(f"{hashlib.sha256(truth).hexdigest()}  disk.dd\n")
    found = verify(examination, mine / "disk.E01")
    assert [item.reference.source.kind for item in found.parts[0].comparisons] == ["container", "container"]
    (notice,) = found.notices
    assert "disk.dd" in notice
    assert "--expect" in notice


def test_a_files_digest_taken_for_the_medias_is_told_so(
    examination: Examination, mine: Path, truth: bytes
) -> None:
    name = mine / "disk.E01"
    (mine / "SHA256SUMS").write_text(f"{of_file(name)}  disk.E01\n")
    found = verify(examination, name, expected=[Digest("sha256", of_file(name))])
    assert found.verdict == "mismatch"
    assert any("it is the digest of segment:0" in text for text in found.notices)
    (mine / "SHA256SUMS").write_text(f"{hashlib.sha256(truth).hexdigest()}  disk.E01\n")
    found = verify(examination, name)
    assert found.verdict == "mismatch"
    assert any("it is the digest of media" in text for text in found.notices)


FTK = """Created By AccessData\u00ae FTK\u00ae Imager 4.2.0.13 \r
\r
Case Information: \r
Examiner: Jane Doe\r
\r
Information for D:\\cases\\disk:\r
\r
[Computed Hashes]\r
 MD5 checksum:    {md5}\r
 SHA1 checksum:   {sha1}\r
\r
Image Information:\r
 Segment list:\r
  D:\\cases\\disk.E01\r
\r
Image Verification Results:\r
 MD5 checksum:    {md5} : verified\r
 SHA1 checksum:   {sha1} : verified\r
"""
GUYMAGER = """
GUYMAGER ACQUISITION INFO FILE
==============================

Image path and file name                                      : /cases/disk.Exx
MD5 hash                                                      : {md5}
MD5 hash verified source                                      : --
MD5 hash verified image                                       : {md5}
SHA1 hash                                                     : {sha1}
SHA256 hash                                                   : --
"""


@pytest.mark.parametrize("report", [("disk.E01.txt", FTK, 4), ("disk.info", GUYMAGER, 3)])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_an_imagers_report_is_of_the_media(
    examination: Examination, mine: Path, truth: bytes, report: tuple[str, str, int], encoding: str
) -> None:
    name, text, number = report
    md5, sha1 = (hashlib.new(item, truth, usedforsecurity=False).hexdigest() for item in ("md5", "sha1"))
    (mine / name).write_bytes(text.format(md5=md5, sha1=sha1).encode(encoding))
    found = verify(examination, mine / "disk.E01")
    reported = [item for item in found.parts[0].comparisons if item.reference.source.kind == "report"]
    assert (len(found.parts), len(reported), found.verdict) == (1, number, "match")
    (mine / name).write_bytes(text.format(md5="0" * 32, sha1=sha1).encode(encoding))
    assert verify(examination, mine / "disk.E01").verdict == "mismatch"


def test_the_report_of_another_image_is_not_used(
    examination: Examination, mine: Path, tmp_path: Path
) -> None:
    other = tmp_path / "report.txt"
    other.write_text(GUYMAGER.format(md5="0" * 32, sha1="0" * 40).replace("disk.Exx", "other.Exx"))
    found = verify(examination, mine / "disk.E01", against=[str(other)])
    assert any("/cases/other.Exx" in text for text in found.notices)
    assert all(item.matches for item in found.parts[0].comparisons)
    assert found.unusable  # what was named compared nothing


def test_a_text_that_is_no_report_is_left_alone(examination: Examination, mine: Path) -> None:
    (mine / "disk.txt").write_text(f"found md5 {'0' * 32} in a log\nMD5 checksum: {'0' * 32}\n")
    (mine / "disk.log").write_bytes(bytes(5000))
    found = verify(examination, mine / "disk.E01")
    assert (found.verdict, found.notices, found.unusable) == ("match", (), ())


def test_the_log_of_a_case_that_had_it_as_e01_speaks_of_raw_media(
    examination: Examination, mine: Path, made: Path, tmp_path: Path
) -> None:
    with examination.evidence(str(mine / "disk.E01")) as evidence:
        examination.hash(evidence, algorithms=["sha256"])
        examination.hash(evidence, algorithms=["sha256"], container=True)
    log = examination.log.path
    shutil.copy(made / "raw/disk.dd", tmp_path / "disk.dd")
    environ = {"XDG_STATE_HOME": str(tmp_path / "state2"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    with Examination.open(examiner="Joe <joe@lab>", argv=["test"], environ=environ) as other:
        found = verify(other, tmp_path / "disk.dd", against=[log])
    assert found.verdict == "match"
    assert [item.reference.of for part in found.parts for item in part.comparisons] == ["media"]
    assert found.uncompared == ()


# -- what cannot be read -------------------------------------------------------------------------------


def damage(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        was = file.read(1)
        file.seek(offset)
        file.write(bytes([was[0] ^ 0xFF]))


def test_a_bad_chunk_is_named_and_the_rest_is_read(
    examination: Examination, mine: Path, truth: bytes
) -> None:
    damage(mine / "disk.E03", 300_000)
    with examination.evidence(str(mine / "disk.E01")) as evidence:
        seen: list[int] = []
        found = examination.verify(evidence, zero_fill=True, progress=lambda done, _total: seen.append(done))
    assert found.verdict == "unreadable"
    (part,) = found.parts
    assert (part.digests, part.comparisons) == ((), [])
    (extent,) = part.read_errors
    assert seen[-1] == SIZE
    filled = truth[: extent.offset] + bytes(extent.length) + truth[extent.end :]
    (sha256,) = (item for item in part.zero_filled if item.algorithm == "sha256")
    assert sha256.value == hashlib.sha256(filled).hexdigest()
    (document,) = read_error_documents(part)
    assert (document["offset"], document["length"]) == (extent.offset, extent.length)
    assert str(mine / "disk.E03") in document["reason"]
    assert f"chunk {extent.offset // 32768}" in document["reason"]
    recorded = outcomes(examination, "evidence.verified")[-1]
    assert (recorded["read_errors"], recorded["verdict"]) == ([document], "unreadable")
    assert recorded["digests"] == {}


def test_many_bad_chunks_are_all_in_the_record(examination: Examination, mine: Path) -> None:
    for at in range(120_000, 900_000, 80_000):
        damage(mine / "disk.E02", at)
    with examination.evidence(str(mine / "disk.E01")) as evidence:
        found = examination.hash(evidence, algorithms=["md5"])
    errors = found.parts[0].read_errors
    assert 5 < len(errors) <= 10
    recorded = outcomes(examination, "evidence.hashed")[-1]
    assert [Extent(item["offset"], item["length"]) for item in recorded["read_errors"]] == list(errors)
    assert all("disk.E02" in item["reason"] for item in recorded["read_errors"])


def test_a_bad_chunk_and_a_list_of_the_segments_is_a_mismatch(examination: Examination, mine: Path) -> None:
    (mine / "SHA256SUMS").write_text(f"{of_file(mine / 'disk.E03')}  disk.E03\n")
    damage(mine / "disk.E03", 300_000)
    found = verify(examination, mine / "disk.E01")
    assert found.verdict == "mismatch"
    assert found.parts[0].read_errors


def test_a_table_read_from_its_copy_is_told_and_recorded(examination: Examination, mine: Path) -> None:
    content = (mine / "disk.E02").read_bytes()
    at = content.index(b"table\0")
    damage(mine / "disk.E02", at + 76 + 24 + 8)
    found = verify(examination, mine / "disk.E01")
    assert found.verdict == "match"
    assert any("disk.E02" in text and "table" in text for text in found.notices)
    recorded = outcomes(examination, "evidence.verified")[-1]
    notices = recorded.get("anomalies", []) + recorded.get("notices", [])
    assert any("disk.E02" in text for text in notices)


def test_a_segment_that_becomes_another_file_is_not_hashed_for_it(
    examination: Examination, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with examination.evidence(str(mine / "disk.E01")) as evidence:
        other = shutil.copy(mine / "disk.E02", mine / "other")
        os.replace(other, mine / "disk.E02")
        with pytest.raises(Exception, match="is not the file that was there"):
            examination.hash(evidence, algorithms=["md5"], container=True)
    last = [record for record in examination.log.records() if record["type"] == "evidence.hashed"][-1]
    assert last["result"] == "failed"


# -- what was never written --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sparse.qcow2", "sparse.vmdk", "sparse.vhd", "sparse.vhdx"])
def test_what_was_never_written_is_not_read(
    examination: Examination, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """256 MiB of which a few are there: only these, tables and headers are asked of the file."""
    disk, path = tmp_path / "disk.dd", tmp_path / name
    with disk.open("wb") as file:
        file.truncate(256 * MIB)
        file.seek(100 * MIB)
        file.write(media(MIB))
    kind = path.suffix[1:].replace("vhd", "vpc") if name.endswith(".vhd") else path.suffix[1:]
    options = ["-o", "force_size=on"] if kind == "vpc" else []
    run("qemu-img", "convert", "-f", "raw", "-O", kind, *options, disk, path, cwd=tmp_path)
    asked = 0
    preadv = os.preadv

    def counted(fd: int, buffers: list[memoryview], offset: int) -> int:
        nonlocal asked
        done = preadv(fd, buffers, offset)
        asked += done
        return done

    with examination.evidence(str(path)) as evidence:
        monkeypatch.setattr(os, "preadv", counted)
        found = examination.hash(evidence, algorithms=["sha256"])
    assert found.parts[0].digests[0].value == of_file(disk)
    assert asked < 20 * MIB


# -- what a whole disk leaves behind in memory -------------------------------------------------------


def cached(path: str) -> int:
    """Bytes of the file in the page cache."""
    told = subprocess.run(
        ["fincore", "-b", "-n", "-o", "RES", path], check=True, capture_output=True, text=True
    )
    return int(told.stdout)


def put_out_of_memory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


@pytest.mark.parametrize("name", ["raw/disk.dd", *(f"copies/{name}" for name in FORMATS)])
def test_a_disk_larger_than_memory_does_not_push_everything_else_out_of_it(
    made: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("imgkit.hashing._half_of_memory", lambda: 0)
    with open_image(made / name) as image:
        paths = [segment.path for segment in image.segments]
        for path in paths:
            put_out_of_memory(path)
        need(not any(map(cached, paths)), "the file system keeps files in memory")
        hash_range(image, 0, image.size, algorithms=["md5"])
        assert sum(map(cached, paths)) < MIB  # of 4 to 16: headers, tables, and pages that hold two clusters
