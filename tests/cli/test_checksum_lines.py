"""What `hash` prints is what the stock tools check, whatever the file is called; nobody checks media against a container."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from imgkit.hashing import HASH_ALGORITHMS
from tests.conftest import need

if TYPE_CHECKING:
    from tests.cli.running import Imgkit

NAMES = [
    b"plain.dd",
    b"two words.dd",
    b" leading and trailing ",
    b"new\nline.dd",
    b"back\\slash.dd",
    b"back\\nslash.dd",
    b"carriage\rreturn.dd",
    b"caf\xe9 latin-1.dd",
    "schön 日本.dd".encode(),
    b"esc\x1b[31m.dd",
    "right\u202eto left.dd".encode(),
    b"-rf",
    b"-",
    b"*star",
    b"(brackets) = .dd",
]
TOOLS = {"md5": "md5sum", "sha1": "sha1sum", "sha256": "sha256sum", "sha512": "sha512sum", "blake3": "b3sum"}


def check(imgkit: Imgkit, tool: str, lines: bytes) -> None:
    """The tool finds every file of the lines, and finds it unchanged."""
    need(shutil.which(tool) is not None, f"needs {tool}")
    sums = imgkit.base / "sums"
    sums.write_bytes(lines)
    options = [] if tool == "b3sum" else ["--strict"]
    done = subprocess.run(
        [tool, "--check", *options, str(sums)], cwd=imgkit.folder, capture_output=True, check=False
    )
    assert done.returncode == 0, (lines, done.stdout, done.stderr)
    assert done.stdout.count(b": OK\n") == lines.count(b"\n")


@pytest.mark.parametrize("algorithm", TOOLS)
def test_one_algorithm_is_lines_that_its_tool_checks(imgkit: Imgkit, algorithm: str) -> None:
    names = [name for name in NAMES if algorithm != "blake3" or b"\xe9" not in name]
    for number, name in enumerate(names):
        imgkit.image(name, b"%d" % number * 512)
    done = imgkit("hash", "-a", algorithm, "--", *names).ended(0)
    check(imgkit, TOOLS[algorithm], os.fsencode(done.out))


def test_several_algorithms_are_tagged_lines(imgkit: Imgkit) -> None:
    for number, name in enumerate(NAMES):
        imgkit.image(name, b"%d" % number * 512)
    done = imgkit("hash", "-a", "md5", "-a", "sha256", "-a", "sha512", "--", *NAMES).ended(0)
    lines = os.fsencode(done.out).replace(b"\n", b"\n\0").split(b"\0")[:-1]
    assert len(lines) == 3 * len(NAMES)
    for tag, tool in ((b"MD5 (", "md5sum"), (b"SHA256 (", "sha256sum"), (b"SHA512 (", "sha512sum")):
        check(imgkit, tool, b"".join(line for line in lines if line.lstrip(b"\\").startswith(tag)))


def test_the_default_is_sha256_and_blake3_in_one_read(imgkit: Imgkit) -> None:
    imgkit.image("disk.dd", b"abc")
    done = imgkit("hash", "disk.dd").ended(0)
    assert done.lines == [
        "SHA256 (disk.dd) = ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "BLAKE3 (disk.dd) = 6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
    ]


def test_the_name_is_the_one_that_was_typed(imgkit: Imgkit) -> None:
    imgkit.image("disk.dd", b"abc")
    for name in ("disk.dd", "./disk.dd", "../work/disk.dd", str(imgkit.folder / "disk.dd")):
        done = imgkit("hash", "-a", "md5", name).ended(0)
        assert done.lines == [f"900150983cd24fb0d6963f7d28e17f72  {name}"]


def test_what_hash_writes_verify_reads(imgkit: Imgkit) -> None:
    for name in NAMES:
        imgkit.image(name)
    sums = imgkit.base / "sums"
    sums.write_bytes(os.fsencode(imgkit("hash", "--", *NAMES).ended(0).out))
    for name in NAMES[:9]:
        (entry,) = imgkit("verify", "--against", sums, "--json", "--", name).ended(0).json["images"]
        stated = [item for item in entry["comparisons"] if item["source"]["kind"] == "against"]
        assert {item["algorithm"] for item in stated} == {"sha256", "blake3"}


def test_every_algorithm_has_a_line_that_verify_reads(imgkit: Imgkit) -> None:
    imgkit.image()
    words = [word for name in HASH_ALGORITHMS for word in ("-a", name)]
    sums = imgkit.base / "sums"
    sums.write_text(imgkit("hash", *words, "disk.dd").ended(0).out, encoding="utf-8")
    (entry,) = imgkit("verify", "disk.dd", "--against", sums, "--json").ended(0).json["images"]
    stated = {item["algorithm"] for item in entry["comparisons"] if item["source"]["kind"] == "against"}
    assert stated == set(HASH_ALGORITHMS)


def test_the_media_of_a_set_is_nobodys_file(imgkit: Imgkit) -> None:
    for number in range(1, 4):
        imgkit.image(f"set.00{number}", b"%d" % number * 1024)
    done = imgkit("hash", "-a", "sha256", "set.001").ended(0)
    (line,) = done.lines
    assert line.endswith("  media:set.001")
    digests = imgkit("hash", "-a", "sha256", "--container", "set.001").ended(0)
    assert [text[66:] for text in digests.lines] == ["set.001", "set.002", "set.003"]
    check(imgkit, "sha256sum", digests.out.encode())


def test_partitions_are_nobodys_file(imgkit: Imgkit, gpt_disk: str) -> None:
    done = imgkit("hash", "-a", "sha256", "-p", "1", "-p", "2", gpt_disk).ended(0)
    assert [line[66:] for line in done.lines] == [f"{gpt_disk}:p1", f"{gpt_disk}:p2"]
    (entry, other) = imgkit("hash", "-p", "2", "-p", "1", "--json", gpt_disk).ended(0).json["images"]
    assert (entry["of"], other["of"]) == ("partition:2", "partition:1")


def test_on_a_terminal_the_name_is_escaped(imgkit: Imgkit) -> None:
    imgkit.image(b"esc\x1b[31m.dd")
    out = imgkit.on_terminal("hash", "-a", "md5", b"esc\x1b[31m.dd")
    assert "esc\\x1b[31m.dd" in out
