"""hashdeep's own files are read, whatever columns they have; a line that does not fit states nothing."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from imgkit.errors import ReferenceFileError
from imgkit.references import read_statements
from imgkit.references.hashdeep import read

if TYPE_CHECKING:
    from pathlib import Path

MD5, SHA1 = "900150983cd24fb0d6963f7d28e17f72", "a9993e364706816aba3e25717850c26c9cd0d89d"
SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
HEADER = ["%%%% HASHDEEP-1.0", "%%%% size,md5,sha256,filename", "## Invoked from: /", "## "]


def stated(lines: list[str]) -> list[tuple[str, str | None, int]]:
    return [(str(found.digest), found.name, found.line) for found in read(enumerate(lines, start=1))]


@pytest.mark.parametrize("algorithms", ["md5", "sha256", "md5,sha1,sha256", "md5,tiger,whirlpool,sha1"])
@pytest.mark.parametrize("name", ["disk.dd", "a, b.dd", "back\\slash", "дата.dd"])
def test_what_hashdeep_writes(tmp_path: Path, algorithms: str, name: str) -> None:
    (tmp_path / name).write_bytes(b"abc")
    made = subprocess.run(
        ["hashdeep", "-c", algorithms, "-l", name], check=True, capture_output=True, cwd=tmp_path
    )
    (tmp_path / "known.txt").write_bytes(made.stdout)
    known = {"md5": MD5, "sha1": SHA1, "sha256": SHA256}
    found = {
        statement.digest.algorithm: statement for statement in read_statements(str(tmp_path / "known.txt"))
    }
    assert set(found) == set(algorithms.split(",")) & set(known)
    for algorithm, statement in found.items():
        assert (statement.digest.value, statement.name) == (known[algorithm], name)
        assert statement.line == made.stdout.count(b"\n")


def test_pieces_do_not_pass_for_the_file(tmp_path: Path) -> None:
    (tmp_path / "disk.dd").write_bytes(b"abc" * 1000)
    made = subprocess.run(
        ["hashdeep", "-p", "1k", "-l", "disk.dd"], check=True, capture_output=True, cwd=tmp_path
    )
    (tmp_path / "known.txt").write_bytes(made.stdout)
    names = {statement.name for statement in read_statements(str(tmp_path / "known.txt"))}
    assert len(names) == 3
    assert "disk.dd" not in names


def test_windows_line_ends_and_capitals() -> None:
    lines = [line + "\r" for line in (*HEADER, f"3,{MD5.upper()},{SHA256},C:\\ev\\disk.dd")]
    assert stated(lines) == [(f"md5:{MD5}", "C:\\ev\\disk.dd", 5), (f"sha256:{SHA256}", "C:\\ev\\disk.dd", 5)]


@pytest.mark.parametrize(
    "line",
    ["", "3", ",,,", f"3,{MD5}", f"3,{MD5},{SHA256}", f"3,{MD5},{SHA256},", f"x,{MD5},{SHA256},disk.dd", f"3,{SHA1},{MD5},x"],
)  # fmt: skip
def test_lines_that_do_not_fit(line: str) -> None:
    assert stated([*HEADER, line]) == []


@pytest.mark.parametrize(
    "header",
    ["%%%% size,md5", "%%%% md5,filename", "%%%% ", "%%%% size" + ",md5" * 100 + ",filename", "no header"],
)
def test_without_columns_nothing_is_stated(header: str) -> None:
    assert stated(["%%%% HASHDEEP-1.0", header, f"3,{MD5},disk.dd"]) == []


def test_a_header_alone_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "known.txt").write_text("\n".join(HEADER))
    with pytest.raises(ReferenceFileError, match="states no digest"):
        read_statements(str(tmp_path / "known.txt"))
