"""Our lines are taken by the stock tools, and theirs by us, whatever the name of the file."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from imgkit.hashing import HASH_ALGORITHMS, Digest
from imgkit.references import read_statements
from imgkit.references.coreutils import gnu_line, read, tag_line
from imgkit.references.sidecars import algorithm_of

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [
    b"disk.dd",
    b" two  spaces ",
    b"new\nline",
    b"back\\slash",
    b"\\n",
    b"carriage\rreturn",
    b"ends\r",
    b"all\\\n\r\\n",
    b"a) = b",
    b"*star",
    "дата é.dd".encode(),
    b"\xff\xfe.dd",
    b"-",
    b"#comment",
    b"tab\there",
    "vertical\x0btab\x85\u2028\x1c".encode(),
]
CONTENT = b"abc"


@pytest.fixture(params=NAMES, ids=repr)
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    raw: bytes = request.param
    with open(os.fsencode(tmp_path) + b"/" + raw, "wb") as file:
        file.write(CONTENT)
    return os.fsdecode(raw)


def digest_of(algorithm: str) -> Digest:
    hasher = HASH_ALGORITHMS[algorithm][0]()
    hasher.update(memoryview(CONTENT))
    return Digest(algorithm, hasher.hexdigest())


def run(directory: Path, *command: str | bytes, stdin: bytes = b"") -> bytes:
    done = subprocess.run(command, check=False, capture_output=True, input=stdin, cwd=directory)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(directory: Path, tool: str, line: str) -> None:
    """The tool says that the one line is right; `--strict` makes a line it cannot read an error."""
    sums = directory / "sums"
    sums.write_bytes(os.fsencode(line) + b"\n")
    strict = [] if tool == "b3sum" else ["--strict"]
    assert run(directory, tool, *strict, "-c", "sums").rstrip().endswith(b": OK")


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_coreutils_takes_our_lines(tmp_path: Path, name: str, algorithm: str) -> None:
    if name == "-":
        name = "./-"  # standard input to the tool
    check(tmp_path, f"{algorithm}sum", gnu_line(digest_of(algorithm), name))
    check(tmp_path, f"{algorithm}sum", tag_line(digest_of(algorithm), name))


# b3sum refuses names that are no UTF-8, and reads a carriage return at the end of a line as a part of the line's end.
B3SUM_NAMES = [raw.decode() for raw in NAMES if raw not in {b"-", b"ends\r", b"\xff\xfe.dd"}]


@pytest.mark.parametrize("name_here", B3SUM_NAMES)
def test_b3sum_takes_our_lines(tmp_path: Path, name_here: str) -> None:
    (tmp_path / name_here).write_bytes(CONTENT)
    check(tmp_path, "b3sum", gnu_line(digest_of("blake3"), name_here))


@pytest.mark.parametrize("options", [[], ["--binary"], ["--tag"], ["--zero"]], ids=str)
@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_we_take_coreutils_lines(tmp_path: Path, name: str, algorithm: str, options: list[str]) -> None:
    sums = tmp_path / f"sums.{algorithm}"
    sums.write_bytes(run(tmp_path, f"{algorithm}sum", *options, "--", os.fsencode(f"./{name}")))
    (statement,) = read_statements(str(sums))
    assert statement.digest == digest_of(algorithm)
    expected = f"./{name}"
    # Of a trailing carriage return nobody knows whether it is of the name or of the line, where it is not escaped.
    assert statement.name == (expected.removesuffix("\r") if "--zero" in options else expected)


@pytest.mark.parametrize("tool", ["b2sum", "sha224sum", "sha384sum", "sha512sum", "sha1sum"])
def test_every_sum_of_coreutils_by_its_tag(tmp_path: Path, tool: str) -> None:
    (tmp_path / "disk.dd").write_bytes(CONTENT)
    (tmp_path / "sums.txt").write_bytes(run(tmp_path, tool, "--tag", "disk.dd"))
    (statement,) = read_statements(str(tmp_path / "sums.txt"))
    algorithm = {"b2sum": "blake2b"}.get(tool, tool.removesuffix("sum"))
    assert statement.digest == digest_of(algorithm)
    assert tag_line(statement.digest, "disk.dd").encode() + b"\n" == (tmp_path / "sums.txt").read_bytes()


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512", "sha3-256", "sm3", "blake2s256"])
def test_openssl(tmp_path: Path, algorithm: str) -> None:
    (tmp_path / "disk.dd").write_bytes(CONTENT)
    (tmp_path / "sums.txt").write_bytes(run(tmp_path, "openssl", "dgst", f"-{algorithm}", "disk.dd"))
    (statement,) = read_statements(str(tmp_path / "sums.txt"))
    assert statement.name == "disk.dd"
    assert statement.digest == digest_of(
        {"blake2s256": "blake2s"}.get(algorithm, algorithm.replace("-", "_"))
    )


def test_we_take_b3sum_lines(tmp_path: Path) -> None:
    for name in ("disk.dd", "new\nline", "back\\slash"):
        (tmp_path / name).write_bytes(CONTENT)
        (tmp_path / "disk.b3").write_bytes(run(tmp_path, "b3sum", name))
        (statement,) = read_statements(str(tmp_path / "disk.b3"))
        assert (statement.digest, statement.name) == (digest_of("blake3"), name)


@pytest.mark.parametrize("tool", ["md5deep", "sha1deep", "sha256deep"])
@pytest.mark.parametrize("options", [[], ["-l"], ["-z"]], ids=str)
def test_we_take_md5deep_lines(tmp_path: Path, tool: str, options: list[str]) -> None:
    (tmp_path / "disk one.dd").write_bytes(CONTENT)
    (tmp_path / "sums.txt").write_bytes(run(tmp_path, tool, *options, "disk one.dd"))
    (statement,) = read_statements(str(tmp_path / "sums.txt"))
    assert statement.digest == digest_of(tool.removesuffix("deep"))
    assert statement.name is not None
    assert os.path.basename(statement.name) == "disk one.dd"


@pytest.mark.parametrize("tool", ["md5deep", "hashdeep"])
def test_the_deep_tools_audit_our_lines(tmp_path: Path, tool: str) -> None:
    (tmp_path / "disk.dd").write_bytes(CONTENT)
    (tmp_path / "sums").write_text(gnu_line(digest_of("md5"), "disk.dd") + "\n")
    if tool == "md5deep":
        assert b"disk.dd" in run(tmp_path, tool, "-l", "-m", "sums", "disk.dd")
        return
    header = "%%%% HASHDEEP-1.0\n%%%% size,md5,filename\n"
    (tmp_path / "sums").write_text(f"{header}3,{digest_of('md5').value},disk.dd\n")
    assert b"Audit passed" in run(tmp_path, tool, "-l", "-a", "-k", "sums", "disk.dd")


@pytest.mark.parametrize("algorithm", sorted(HASH_ALGORITHMS))
@pytest.mark.parametrize("name_here", ["disk.dd", "a) = b\n", "\\"])
def test_tags_come_back(algorithm: str, name_here: str) -> None:
    digest = digest_of(algorithm)
    (statement,) = read([(7, tag_line(digest, name_here))], lambda _digits: None)
    assert (statement.digest, statement.name, statement.line) == (digest, name_here, 7)


MD5, SHA256 = "900150983cd24fb0d6963f7d28e17f72", digest_of("sha256").value
FORMS = {
    f"{MD5}": ("md5", None),
    f"  {MD5.upper()}  ": ("md5", None),
    f"{MD5}  -": ("md5", None),
    f"{MD5} *-": ("md5", None),
    f"{MD5} disk.dd": ("md5", "disk.dd"),
    f"{MD5}\tdisk.dd": ("md5", "disk.dd"),
    f"{MD5}  disk.dd\r": ("md5", "disk.dd"),
    f"md5:{MD5}": ("md5", None),
    f"MD5: {MD5}": ("md5", None),
    f"MD5 = {MD5}": ("md5", None),
    f"SHA-256: {SHA256}  disk.dd": ("sha256", "disk.dd"),
    f"SHA256          {SHA256.upper()}       C:\\ev\\disk.dd": ("sha256", "C:\\ev\\disk.dd"),
    f"SHA2-256(stdin)= {SHA256}": ("sha256", None),
    f"SHA2-256(disk.dd)= {SHA256}": ("sha256", "disk.dd"),
    f"RMD160 (x) = {'0' * 40}": ("ripemd160", "x"),
    f"SHA512/256 (x) = {SHA256}": ("sha512_256", "x"),
    f"BLAKE3 (x) = {SHA256}": ("blake3", "x"),
}


@pytest.mark.parametrize(("line", "expected"), FORMS.items(), ids=FORMS)
def test_forms(line: str, expected: tuple[str, str | None]) -> None:
    (statement,) = read([(1, line)], lambda digits: algorithm_of(None, digits))
    assert (statement.digest.algorithm, statement.name) == expected


NOTHING = [
    "",
    "# " + MD5,
    "#" + MD5 + "  disk.dd",
    MD5[:-1],
    MD5 + "0",
    MD5[:-1] + "g  disk.dd",
    f"SHA256 (disk.dd) = {MD5}",
    f"SHA999 (disk.dd) = {SHA256}",
    f"\\{MD5}  bad\\x escape",
    f"\\{MD5}  ends\\",
    "-----BEGIN PGP SIGNED MESSAGE-----",
    f"{MD5}  {'x' * 20_000}",
    "\ud800" + MD5,
]


@pytest.mark.parametrize("line", NOTHING, ids=range(len(NOTHING)))
def test_lines_that_state_nothing(line: str) -> None:
    assert list(read([(1, line)], lambda digits: algorithm_of(None, digits))) == []


@pytest.mark.parametrize("unit", [" ", "0", "a", "(", ") = ", "\t", "\\", "\\\\", "MD5 (", ": ", "1 "])
def test_hostile_lines_take_no_time(unit: str) -> None:
    """16 KiB of one thing: a pattern that backtracks over it squared would take seconds a line."""
    starts = ["", "\\", f"{MD5}  ", "MD5 (", f"MD5 {MD5} x"]
    lines = [(number, (start + unit * 16_384)[:16_384]) for number, start in enumerate(starts)]
    before = time.process_time()
    found = [
        statement for _ in range(20) for statement in read(lines, lambda digits: algorithm_of(None, digits))
    ]
    assert time.process_time() - before < 5
    assert all(statement.digest.value in {MD5, "0" * 32} for statement in found)
