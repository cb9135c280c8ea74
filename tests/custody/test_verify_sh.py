"""verify.sh, run for real: stock tools and imgkit say the same of every tampered log, line by line."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import imgkit.custody
from imgkit.custody.verify import verify_log
from tests.conftest import need
from tests.custody.forge import NOTE, SHA, case, chain, line_hash, long, parse, recovered
from tests.custody.tamperings import TABLE, Tampering, original

if TYPE_CHECKING:
    from collections.abc import Iterable

SCRIPT = Path(imgkit.custody.__file__).parent / "verify.sh"
BOTH = {
    "BAD_LINE", "CHAIN_BREAK", "SEQ", "FOREIGN_LOG", "TORN_TAIL", "TORN_SEALED", "OUTCOME_NO_INTENT", "LATE_OUTCOME",
    "OPEN_INTENT", "ENCLOSURE_CHANGED", "EXTRA_FILE", "ENCLOSURE_WITHHELD",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def stock_tools() -> None:
    need(shutil.which("jq") is not None, "needs jq")


def stock(place: Path, shell: str = "sh") -> tuple[int, set[tuple[str, int | None]], str]:
    """Exit code, (code, line) of each finding, and the last line but one."""
    run = subprocess.run([shell, SCRIPT, place], capture_output=True, text=True, check=False)
    assert run.stderr == ""
    found: set[tuple[str, int | None]] = set()
    for line in run.stdout.splitlines():
        words = line.replace(":", " ").split()
        if words[0] in {"FAIL", "WARN", "INFO"}:
            found.add((words[1], int(words[3]) if words[2] == "line" else None))
    return run.returncode, {(code, line) for code, line in found if code in BOTH}, run.stdout


def ours(place: Path) -> tuple[int, set[tuple[str, int | None]]]:
    found = verify_log(place)
    return found.exit_code, {(f.code, f.line) for f in found.findings if f.code in BOTH}


def put(folder: Path, lines: Iterable[bytes]) -> Path:
    (folder / "custody.jsonl").write_bytes(b"".join(lines))
    return folder


@pytest.mark.parametrize("tampering", [row for row in TABLE if row.stock], ids=str)
def test_stock_tools_agree(tampering: Tampering, tmp_path: Path) -> None:
    put(tmp_path, tampering.make(original().lines))
    code, found, said = stock(tmp_path)
    assert (code, found) == ours(tmp_path), said
    assert said.splitlines()[-2 if code == 0 else -1].startswith({0: "IN ORDER", 1: "WRONG"}[code])


def test_stock_tools_agree_on_flipped_bytes(tmp_path: Path) -> None:
    forge = original()
    ends = len(b"".join(forge.lines[:-1]))
    for offset in range(0, ends, ends // 24):
        text = bytearray(forge.text)
        text[offset] ^= 1 + offset % 255
        put(tmp_path, [bytes(text)])
        code, _, said = stock(tmp_path)
        assert code == 1 == ours(tmp_path)[0], f"byte {offset}: {said}"


@pytest.mark.parametrize("fill", [b"", b"\0" * 300, b"\0" * 20 + b'"}', b"\xff\xfe"])
def test_stock_tools_agree_on_cuts(fill: bytes, tmp_path: Path) -> None:
    forge = original()
    last = forge.lines[-1]
    for cut in (1, 2, len(last) // 3, len(last) - 2):
        piece = last[:cut] + fill
        put(tmp_path, [*forge.lines, piece])
        code, found, said = stock(tmp_path)
        assert (code, found) == ours(tmp_path) == (0, {("TORN_TAIL", 13)}), f"cut {cut}: {said}"
    piece = last[:-2] + fill + b"\n"
    put(tmp_path, chain([*forge.lines, piece, recovered([piece], 13, parse(last))]))
    code, found, said = stock(tmp_path)
    assert (code, found) == ours(tmp_path) == (0, {("TORN_SEALED", 13)}), said


def test_reconciled(tmp_path: Path) -> None:
    forge = original()
    op = forge.intent("evidence.hashed")
    forge.event("op.reconciled", {"op": op, "line": 13, "result": "interrupted", "seen": {}})
    put(tmp_path, forge.lines)
    assert stock(tmp_path)[:2] == ours(tmp_path) == (0, set())
    forge.outcome(op, "evidence.hashed", {"digests": {}})
    put(tmp_path, forge.lines)
    assert stock(tmp_path)[:2] == ours(tmp_path) == (0, {("LATE_OUTCOME", 15)})


def test_newer(tmp_path: Path) -> None:
    lines = original().lines
    put(tmp_path, chain([*lines, parse(lines[11]) | {"v": 2}]))
    code, found, said = stock(tmp_path)
    assert (code, found) == ours(tmp_path) == (3, set())
    assert said.splitlines()[-1].startswith("UNDECIDED")


def test_enclosures(tmp_path: Path) -> None:
    case(tmp_path)
    assert stock(tmp_path)[:2] == ours(tmp_path) == (0, set())
    (tmp_path / "enclosures" / f"{SHA}.txt").write_bytes(NOTE + b" ")
    (tmp_path / "enclosures" / f".{SHA}.tmp").write_bytes(b"")
    assert stock(tmp_path)[:2] == ours(tmp_path) == (1, {("ENCLOSURE_CHANGED", 13)})
    (tmp_path / "enclosures" / f"{SHA}.txt").unlink()
    assert stock(tmp_path)[:2] == ours(tmp_path) == (0, {("ENCLOSURE_WITHHELD", 13)})
    (tmp_path / "enclosures" / "notes on it.txt").write_bytes(NOTE)
    assert stock(tmp_path)[:2] == ours(tmp_path) == (1, {("ENCLOSURE_WITHHELD", 13), ("EXTRA_FILE", None)})


def test_summary_names_the_head(tmp_path: Path) -> None:
    put(tmp_path, [*original().lines, b'{"torn'])
    found = verify_log(tmp_path)
    said = stock(tmp_path)[2]
    assert f"log {found.log}, {found.lines} lines, {found.bytes} bytes\nhead {found.head}\n" in said


def test_where_it_lies_and_what_it_is_given(tmp_path: Path) -> None:
    folder = tmp_path / "a case; $(touch x) -n"
    folder.mkdir()
    put(folder, original().lines)
    shutil.copy(SCRIPT, folder)
    for given in (
        [str(folder / "verify.sh")],
        ["verify.sh"],
        ["verify.sh", "custody.jsonl"],
        ["verify.sh", "."],
    ):
        command = ["sh", *given]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert (run.returncode, run.stderr) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == ["custody.jsonl", "verify.sh"]


def test_cannot_look(tmp_path: Path) -> None:
    run = subprocess.run(["sh", SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert run.returncode == 3
    assert run.stderr.startswith("verify.sh: no readable custody log at ")


def test_the_steps_by_hand(tmp_path: Path) -> None:
    """Every command of README.txt runs on a case as it is, and says what the text says."""
    case(tmp_path)
    shutil.copy(SCRIPT, tmp_path)
    text = SCRIPT.with_name("README.txt").read_text()
    assert text.isascii()
    said = []
    for command in re.findall(r"^    (?!imgkit)(\S.*)$", text, re.MULTILINE):
        given = command.replace("| less", "").replace("SIZE", "5")
        run = subprocess.run(["sh", "-c", given], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (run.returncode, run.stderr) == (0, ""), command
        said.append(run.stdout)
    script, _, hash_of_4, prev_of_5, log, encoding, enclosures, head_of_5 = said
    found = verify_log(tmp_path)
    assert "IN ORDER" in script
    assert hash_of_4[:64] == prev_of_5.strip()
    assert log == f"{found.log}\n"
    assert encoding == ""
    assert all(line[:64] == line[66:130] for line in enclosures.splitlines())
    assert head_of_5[:64] == line_hash((tmp_path / "custody.jsonl").read_bytes().splitlines(keepends=True)[4])


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_shells(shell: str, tmp_path: Path) -> None:
    need(shutil.which(shell) is not None, f"needs {shell}")
    put(tmp_path, original().lines)
    assert stock(tmp_path, shell)[:2] == (0, set())


def test_a_longer_log(tmp_path: Path) -> None:
    forge = long(2001)
    put(tmp_path, forge.lines)
    code, found, _ = stock(tmp_path)
    assert (code, found) == ours(tmp_path) == (0, set())
