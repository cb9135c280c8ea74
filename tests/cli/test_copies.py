"""log compare, log disclose and log verify --evidence, as commands: exit codes, JSON, and that the case stays as it is."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.custody.keys import make_key, public

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.running import Imgkit

JANE = "jane@lab.example"


@pytest.fixture
def case(imgkit: Imgkit) -> Path:
    """A case with one exhibit, hashed, and a signed checkpoint; `signers` beside it trusts the key."""
    key = make_key(imgkit.base / "id")
    (imgkit.base / "signers").write_text(f"{JANE} {public(key)}\n")
    imgkit.image("disk.dd", os.urandom(5000))
    imgkit("case", "new", "case").ended(0)
    imgkit("hash", "disk.dd", "--case", "case").ended(0)
    imgkit("log", "checkpoint", "case", "--signer", f"{JANE}={key}").ended(0)
    return imgkit.folder / "case"


def state(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_compare(imgkit: Imgkit, case: Path) -> None:
    before = state(case)
    copy = imgkit.folder / "copy.jsonl"
    lines = (case / "custody.jsonl").read_bytes().splitlines(keepends=True)
    copy.write_bytes(b"".join(lines[:-1]))
    done = imgkit("log", "compare", case, copy, "--json").ended(0).json
    assert (done["schema"], done["relation"], done["shorter"], done["more"]) == (
        "imgkit.log.compare.v1", "prefix", "b", 1,
    )  # fmt: skip
    assert (
        "B is the beginning of A, which has 1 line more" in imgkit("log", "compare", case, copy).ended(0).out
    )
    assert "byte for byte" in imgkit("log", "compare", case, case).ended(0).out
    copy.write_bytes(b"".join(lines).replace(b'"exhibit":"EX1"', b'"exhibit":"E\\u001b1"', 1))
    done = imgkit("log", "compare", case, copy).ended(1)
    assert "FORKED: they differ from line 2 on" in done.out
    assert "exhibit" in done.out
    assert "\x1b" not in done.out
    assert imgkit("log", "compare", case, copy, "--json").ended(1).json["difference"]["line"] == 2
    assert state(case) == before


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (gzip.compress, 3, "compressed (gzip)"),
        (lambda data: data.replace(b"\n", b"\r\n"), 1, "ends in CR LF"),
        (lambda data: b"\xef\xbb\xbf" + data, 1, "byte order mark"),
        (lambda data: data.replace(b"\n", b"  \n"), 1, "blanks at its end"),
    ],
    ids=["gzip", "CRLF", "BOM", "blanks"],
)
def test_copies_that_the_way_changed(
    imgkit: Imgkit, case: Path, change: Callable[[bytes], bytes], code: int, said: str
) -> None:
    copy = imgkit.folder / "copy"
    copy.write_bytes(change((case / "custody.jsonl").read_bytes()))
    done = imgkit("log", "compare", case, copy).ended(code)
    assert said in done.out + done.err


def test_two_logs_are_two(imgkit: Imgkit, case: Path) -> None:
    imgkit("case", "new", "other").ended(0)
    assert "DIFFERENT LOGS" in imgkit("log", "compare", case, "other").ended(1).out
    assert imgkit("log", "compare", case, "nothing").ended(3).errors


def test_disclose_and_check(imgkit: Imgkit, case: Path) -> None:
    before = state(case)
    signers = imgkit.base / "signers"
    made = imgkit("log", "disclose", case, "--exhibit", "EX1", "-o", "out", "--json").ended(0).json
    assert made["schema"] == "imgkit.log.disclose.v1"
    assert made["lines"] == [2, 3, 4, 5]
    assert state(case) == before
    out = imgkit.folder / "out"
    checked = imgkit("log", "disclose", "--check", out, "--signers", signers, "--json").ended(0).json
    assert (checked["ok"], checked["lines"], checked["findings"]) == (True, [2, 3, 4, 5], [])
    assert checked["signature"]["status"] == "trusted"
    assert subprocess.run(["sh", out / "check.sh", signers], check=False, capture_output=True).returncode == 0
    assert "nobody vouches" in imgkit("log", "disclose", "--check", out).ended(0).out
    path = out / "lines.jsonl"
    path.write_bytes(path.read_bytes().replace(b"disk.dd", b"desk.dd", 1))
    done = imgkit("log", "disclose", "--check", out, "--signers", signers).ended(1)
    assert "FAIL  MERKLE: line 2" in done.out


def test_disclosing_refuses(imgkit: Imgkit, case: Path) -> None:
    (imgkit.folder / "there").mkdir()
    for words, code in (
        (("--exhibit", "EX1"), 2),
        (("-o", "out"), 2),
        (("--exhibit", "EX9", "-o", "out"), 2),
        (("--line", "99", "-o", "out"), 2),
        (("--line", "6", "-o", "out"), 3),  # the checkpoint's own line: no checkpoint covers it yet
        (("--line", "1", "-o", "there"), 3),
        (("--line", "1", "-o", "out", "--signers", "x"), 2),
        (("--check", "there", "--exhibit", "EX1"), 2),
    ):
        done = imgkit("log", "disclose", *(() if "--check" in words else (case,)), *words).ended(code)
        assert done.errors
        assert not (imgkit.folder / "out").exists()


def test_verify_with_evidence(imgkit: Imgkit, case: Path) -> None:
    folder = imgkit.folder / "given"
    (folder / "deep").mkdir(parents=True)
    words = ("log", "verify", case, "--evidence", folder)
    found = imgkit(*words, "--json").ended(0).json["evidence"]
    assert [item["verdict"] for item in found["exhibits"]] == ["not-found"]
    shutil.copy(imgkit.folder / "disk.dd", folder / "deep" / "renamed.img")
    before = state(folder)
    found = imgkit(*words, "--json").ended(0).json["evidence"]
    assert [item["verdict"] for item in found["exhibits"]] == ["match"]
    assert "1 of 1 exhibits are there and match" in imgkit(*words).ended(0).out
    assert state(folder) == before
    data = bytearray((folder / "deep" / "renamed.img").read_bytes())
    data[4999] ^= 1
    (folder / "deep" / "renamed.img").write_bytes(data)
    done = imgkit(*words).ended(1)
    assert "EX1: DIFFERS" in done.out
    assert done.out.endswith("verdict on the evidence: DIFFERS\n")
    assert imgkit("log", "verify", case, "--evidence", "nowhere").ended(2).errors
