"""verify: every verdict, every source of a digest, and who stated it; never a match on our own word alone."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import need

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.running import Imgkit

CONTENT = b"evidence\n" * 2048
WRONG = "0" * 64
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


def entry(imgkit: Imgkit, *words: str | Path, code: int, **options: Any) -> dict[str, Any]:
    """The answer about one image, first part first."""
    found: dict[str, Any] = imgkit("verify", *words, "--json", **options).ended(code).json["images"][0]
    return found


def sources(found: dict[str, Any]) -> list[tuple[str, str, bool]]:
    return [
        (item["source"]["kind"], item["source"]["origin"], item["matches"]) for item in found["comparisons"]
    ]


# -- verdicts --------------------------------------------------------------------------------------


def test_match(imgkit: Imgkit) -> None:
    found = entry(imgkit, imgkit.image(), "--expect", f"SHA-256:{SHA256.upper()}", code=0)
    assert (found["verdict"], found["of"]) == ("match", "media")
    assert sources(found) == [("option", "acquisition", True)]
    assert imgkit("verify", "disk.dd", "--expect", f"md5:{MD5}").lines[-1] == "verdict: match"


def test_mismatch_says_what_was_expected_and_who_stated_it(imgkit: Imgkit) -> None:
    done = imgkit("verify", imgkit.image(), "--expect", f"sha256:{WRONG}").ended(1)
    assert f"BAD  media sha256:{SHA256}" in done.out
    assert f"expected sha256:{WRONG}" in done.out
    assert imgkit.records()[-1]["data"]["verdict"] == "mismatch"


def test_one_digest_that_differs_outweighs_all_that_agree(imgkit: Imgkit) -> None:
    imgkit.image()
    found = entry(imgkit, "disk.dd", "--expect", f"md5:{MD5}", "--expect", f"sha256:{WRONG}", code=1)
    assert (found["verdict"], [matches for *_, matches in sources(found)]) == ("mismatch", [True, False])


def test_no_reference_then_unchanged_but_never_match(imgkit: Imgkit) -> None:
    imgkit.image()
    found = entry(imgkit, "disk.dd", code=3)
    assert (found["verdict"], found["digests"]) == ("no-reference", {"sha256": SHA256})
    found = entry(imgkit, "disk.dd", code=0)
    assert (found["verdict"], sources(found)) == ("unchanged", [("custody", "own", True)])
    done = imgkit("verify", "disk.dd").ended(0)
    assert "never compared with an acquisition hash" in done.out
    assert "match" not in done.lines[-1]


def test_unchanged_says_that_an_earlier_run_matched(imgkit: Imgkit) -> None:
    imgkit("hash", imgkit.image()).ended(0)
    matched = entry(imgkit, "disk.dd", "--expect", f"md5:{MD5}", code=0)
    assert matched["matched_line"] is None
    line = imgkit.records()[-1]["seq"]
    assert entry(imgkit, "disk.dd", code=0)["matched_line"] == line
    last = imgkit("verify", "disk.dd").ended(0).lines[-1]
    assert (
        last
        == f"verdict: unchanged since our own earlier record; it matched an acquisition hash at line {line}"
    )


def test_a_match_of_other_bytes_says_nothing_of_these(imgkit: Imgkit) -> None:
    image = imgkit.image()
    imgkit("verify", image, "--expect", f"md5:{MD5}").ended(0)
    imgkit.image("other.dd", CONTENT[:-1] + b"!").rename(image)
    found = entry(imgkit, image, code=1)
    assert (found["verdict"], found["matched_line"]) == ("mismatch", None)


def test_a_file_swapped_at_the_same_path_is_a_mismatch(imgkit: Imgkit) -> None:
    image = imgkit.image()
    imgkit("hash", image).ended(0)
    other = imgkit.image("other.dd", CONTENT[:-1] + b"!")
    other.rename(image)
    found = entry(imgkit, image, code=1)
    assert (found["verdict"], sources(found)) == ("mismatch", [("custody", "own", False)] * 2)
    assert (
        entry(imgkit, image, code=1)["verdict"] == "mismatch"
    )  # the swapped one's digest became no reference


def test_another_image_in_the_inode_of_one_that_was_deleted_is_another_exhibit(imgkit: Imgkit) -> None:
    image = imgkit.image()
    imgkit("hash", image).ended(0)
    inode = image.stat().st_ino
    os.truncate(image, 0)
    image.write_bytes(b"another acquisition" * 99)
    other = image.rename(imgkit.folder / "other.dd")
    assert other.stat().st_ino == inode
    found = entry(imgkit, other, code=3)
    assert found["verdict"] == "no-reference"


def test_who_states_a_digest_is_said_in_words(imgkit: Imgkit) -> None:
    image = imgkit.image()
    given = imgkit("verify", image, "--expect", f"sha256:{SHA256}").ended(0).out
    assert "stated by --expect (on the command line; of the acquisition; unprotected)\n" in given
    again = imgkit("verify", image).ended(0).out
    assert re.search(r"custody\.jsonl line \d \(a custody log; our own earlier record; chained\)\n", again)


def test_a_moved_image_keeps_its_record(imgkit: Imgkit) -> None:
    image = imgkit.image()
    imgkit("hash", image).ended(0)
    found = entry(imgkit, image.rename(imgkit.folder / "moved.dd"), code=0)
    assert found["verdict"] == "unchanged"


def test_unreadable_sectors_give_no_digest(imgkit: Imgkit, bad_device: str) -> None:
    image = imgkit.image("unused.dd")
    assert image.exists()
    found = entry(imgkit, bad_device, "--expect", f"sha256:{SHA256}", "--zero-fill-digest", code=3)
    assert (found["verdict"], found["digests"], found["comparisons"]) == ("unreadable", {}, [])
    (bad,) = found["read_errors"]
    assert (bad["offset"], bad["length"], found["read_error_count"]) == (4096, 12288, 1)
    assert "Input/output error" in bad["reason"]
    zeros = hashlib.sha256(b"x" * 4096 + bytes(12288)).hexdigest()
    assert found["zero_filled_digests"] == {"sha256": zeros}
    done = imgkit("hash", bad_device, "-a", "sha256").ended(3)
    assert done.out == ""
    assert "cannot read 12288 bytes at 4096" in done.err
    (last,) = [
        item for item in imgkit.records() if item["type"] == "evidence.hashed" and item["phase"] == "outcome"
    ]
    assert last["data"]["digests"] == {}


def test_a_file_that_cannot_be_opened(imgkit: Imgkit) -> None:
    imgkit("verify", "missing.dd").ended(3)
    assert not imgkit.own_log.exists() or len(imgkit.records()) == 1


# -- where digests come from -----------------------------------------------------------------------


def stated(imgkit: Imgkit, name: str, text: str) -> Path:
    path = imgkit.folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("disk.dd.sha256", f"{SHA256}  disk.dd\n"),
        ("disk.dd.sha256", f"{SHA256}\n"),
        ("disk.sha256", f"{SHA256} *disk.dd\r\n"),
        ("disk.dd.md5", f"{MD5.upper()}  DISK.DD\n".replace("DISK.DD", "disk.dd")),
        ("disk.dd.md5", f"MD5 (disk.dd) = {MD5}\n"),
        ("SHA256SUMS", f"{WRONG}  other.dd\n{SHA256}  ./disk.dd\n"),
        ("sha256sum.txt", f"\ufeff{SHA256}  disk.dd\r\n"),
    ],
)
def test_sidecars_are_found_and_named(imgkit: Imgkit, name: str, text: str) -> None:
    image, sidecar = imgkit.image(), stated(imgkit, name, text)
    before = sidecar.stat()
    found = entry(imgkit, image, code=0)
    assert (found["verdict"], sources(found)) == ("match", [("sidecar", "acquisition", True)])
    assert found["comparisons"][0]["source"]["path"] == str(sidecar)
    shown = imgkit("verify", image).ended(0).out
    assert re.search(
        rf"stated by {re.escape(str(sidecar))} line \d \(beside the image; of the acquisition; unprotected\)",
        shown,
    )
    assert before.st_atime_ns == sidecar.stat().st_atime_ns


def test_against_each_kind_of_file(imgkit: Imgkit) -> None:
    image = imgkit.image()
    hashdeep = (
        "%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n## Invoked from: /\n"
        f"{len(CONTENT)},{MD5},{SHA256},/seized/disk.dd\n"
    )
    for name, text, count in (
        ("gnu", f"{SHA256}  disk.dd\n", 1),
        ("tagged", f"SHA256 (disk.dd) = {SHA256}\nMD5 (disk.dd) = {MD5}\n", 2),
        ("hashdeep", hashdeep, 2),
        ("bare", f"{SHA256}\n", 1),
        ("labelled", f"MD5: {MD5}\nSHA256: {SHA256}\n", 2),
    ):
        found = entry(imgkit, image, "--against", stated(imgkit, name, text), code=0)
        said = [item for item in sources(found) if item[0] == "against"]
        assert said == [("against", "acquisition", True)] * count, name


def test_against_a_file_that_says_nothing_of_the_image(imgkit: Imgkit) -> None:
    image = imgkit.image()
    done = imgkit("verify", image, "--against", stated(imgkit, "sums", f"{SHA256}  other.dd\n")).ended(3)
    assert "states nothing about disk.dd: it names other.dd" in done.err
    assert "no reference" in done.lines[-1]
    for name in ("missing", "."):
        assert imgkit("verify", image, "--against", name).ended(3).errors


def test_a_digest_of_one_segment_is_held_against_that_segment(imgkit: Imgkit) -> None:
    parts = [b"%d" % number * 1024 for number in range(3)]
    for number, part in enumerate(parts):
        imgkit.image(f"set.00{number + 1}", part)
    digest = hashlib.sha256(parts[1]).hexdigest()
    stated(imgkit, "set.002.sha256", f"{digest}  set.002\n")
    entries = imgkit("verify", "set.001", "--json").ended(3).json["images"]
    assert [(item["of"], item["verdict"]) for item in entries] == [
        ("media", "no-reference"),
        ("segment:1", "match"),
    ]
    lines = [f"{hashlib.sha256(part).hexdigest()}  set.00{n + 1}\n" for n, part in enumerate(parts)]
    stated(imgkit, "SHA256SUMS", "".join(lines))
    assert imgkit("verify", "set.003", "--json").ended(0).json["images"][0]["verdict"] == "match"
    (imgkit.folder / "set.002").write_bytes(b"x" * 1024)
    entries = imgkit("verify", "set.001", "--json").ended(1).json["images"]
    assert entries[0]["verdict"] == "mismatch"


def test_what_was_stated_when_it_was_added_is_an_acquisitions(imgkit: Imgkit) -> None:
    imgkit.env["IMGKIT_CASE"] = str(imgkit.case())
    imgkit("case", "add", imgkit.image(), "--digest", f"sha256:{SHA256}").ended(0)
    found = entry(imgkit, "disk.dd", code=0)
    assert (found["verdict"], sources(found)) == ("match", [("custody", "acquisition", True)])
    assert found["comparisons"][0]["source"]["protection"] == "log"


# -- the log of another case -----------------------------------------------------------------------


def foreign(imgkit: Imgkit, *words: str) -> Path:
    """A case that another laboratory handed over with an image; it hashed the image."""
    case = imgkit.case("theirs")
    imgkit("case", "add", imgkit.image(), *words, "--case", case).ended(0)
    imgkit("hash", "disk.dd", "--case", case).ended(0)
    return case


def test_against_a_case_folder_and_a_log(imgkit: Imgkit) -> None:
    case = foreign(imgkit, "--digest", f"md5:{MD5}")
    before = (case / "custody.jsonl").read_bytes()
    copy = shutil.copy(case / "custody.jsonl", imgkit.base / "handed-over.jsonl")
    for path in (case, case / "custody.jsonl", copy):
        found = entry(imgkit, "disk.dd", "--against", path, code=0)
        said = [item for item in found["comparisons"] if item["source"]["origin"] == "acquisition"]
        assert found["verdict"] == "match"
        assert {item["algorithm"] for item in said} == {"md5", "sha256", "blake3"}
        assert {item["source"]["kind"] for item in said} == {"custody"}
        assert {item["source"]["protection"] for item in said} == {"log"}
    assert (case / "custody.jsonl").read_bytes() == before


def test_against_a_case_of_a_changed_image(imgkit: Imgkit) -> None:
    case = foreign(imgkit)
    imgkit.image("disk.dd", CONTENT[:-1] + b"!")
    assert entry(imgkit, "disk.dd", "--against", case, code=1)["verdict"] == "mismatch"


def test_the_one_exhibit_of_a_case_may_have_another_name_by_now(imgkit: Imgkit) -> None:
    case = foreign(imgkit)
    renamed = imgkit.image("evidence-7.img")
    assert entry(imgkit, renamed, "--against", case, code=0)["verdict"] == "match"


def test_of_several_exhibits_the_name_counts(imgkit: Imgkit) -> None:
    case = foreign(imgkit)
    imgkit("hash", imgkit.image("second.dd", b"2" * 512), "--case", case).ended(0)
    folder = imgkit.folder / "received"
    folder.mkdir()
    copy = shutil.copy(imgkit.folder / "disk.dd", folder / "disk.dd")
    assert entry(imgkit, copy, "--against", case, code=0)["verdict"] == "match"
    other = shutil.copy(imgkit.folder / "disk.dd", folder / "third.dd")
    done = imgkit("verify", other, "--against", case).ended(3)
    assert "has 2 exhibits, none of a file called third.dd" in done.err


def test_of_two_exhibits_of_one_name_neither_counts(imgkit: Imgkit) -> None:
    case = foreign(imgkit)
    folder = imgkit.folder / "second"
    folder.mkdir()
    (folder / "disk.dd").write_bytes(b"2" * 512)
    imgkit("hash", folder / "disk.dd", "--case", case).ended(0)
    done = imgkit("verify", "disk.dd", "--against", case).ended(3)
    assert "EX1, EX2" in done.err


def test_a_log_that_does_not_verify_states_nothing(imgkit: Imgkit) -> None:
    case = foreign(imgkit)
    log = case / "custody.jsonl"
    log.write_text(log.read_text(encoding="utf-8").replace("disk.dd", "disk.dt"), encoding="utf-8")
    done = imgkit("verify", "disk.dd", "--against", case).ended(3)
    assert "CHAIN_BREAK" in done.errors[0]
    assert "hint: imgkit log verify " in done.err


def test_our_own_log_stays_our_own_word(imgkit: Imgkit) -> None:
    imgkit("hash", imgkit.image()).ended(0)
    copy = shutil.copy(imgkit.own_log, imgkit.base / "copy.jsonl")
    for path in (imgkit.own_log, copy, imgkit.own_log.parent):
        found = entry(imgkit, "disk.dd", "--against", path, code=0)
        assert found["verdict"] == "unchanged"
        assert {origin for _, origin, _ in sources(found)} == {"own"}


# -- several images --------------------------------------------------------------------------------


def test_a_checksum_file_for_several_images(imgkit: Imgkit) -> None:
    imgkit.image("a.dd", b"a" * 512)
    imgkit.image("b.dd", b"b" * 512)
    sums = imgkit("hash", "-a", "sha256", "a.dd", "b.dd").ended(0)
    path = stated(imgkit, "list", sums.out)
    documents = imgkit("verify", "a.dd", "b.dd", "--against", path, "--json").ended(0).json["images"]
    assert [item["verdict"] for item in documents] == ["match", "match"]
    imgkit.image("b.dd", b"c" * 512)
    done = imgkit("verify", "a.dd", "b.dd", "--against", path).ended(1)
    assert [line for line in done.lines if line.startswith("verdict")] == [
        "verdict: match",
        "verdict: MISMATCH",
    ]


def test_verifying_leaves_the_image_as_it_was(imgkit: Imgkit) -> None:
    image = imgkit.image()
    os.utime(image, ns=(1, 1))
    before = image.stat()
    need(before.st_uid == os.geteuid(), "needs to own the image")
    imgkit("verify", image, "--expect", f"sha256:{SHA256}").ended(0)
    after = image.stat()
    assert (before.st_atime_ns, before.st_mtime_ns, before.st_ctime_ns, before.st_size) == (
        after.st_atime_ns,
        after.st_mtime_ns,
        after.st_ctime_ns,
        after.st_size,
    )


def test_a_digest_of_one_segment_is_none_of_the_whole(imgkit: Imgkit) -> None:
    for name in ("disk.001", "disk.002"):
        imgkit.image(name)
    (imgkit.folder / "disk.001.sha256").write_text(f"{SHA256}  disk.001\n")
    parts = "only of parts that were compared"
    done = imgkit("verify", "disk.001").ended(3)
    assert done.lines[-1] == f"verdict: no reference: nothing states a digest of the whole, {parts}"
    done = imgkit("verify", "disk.001").ended(0)
    assert done.lines[-1].endswith("as a whole never compared with an acquisition hash")
