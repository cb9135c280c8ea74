"""The example case of the documentation: it verifies, stock tools find the same, and it is what its generator makes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgkit.custody.disclose import disclose, write_disclosure
from imgkit.custody.disclosed import check_disclosure
from imgkit.custody.reading import read_records
from imgkit.custody.verify import CODES, Severity, verify_log
from imgkit.examination.elsewhere import check_evidence
from imgkit.examination.examiner import invoking_user
from imgkit.examination.ledger import fold

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.custody.verify import Verification

DOCS = Path(__file__).parent.parent.parent / "docs"
GUIDE = (DOCS / "guide" / "opposing-expert.md").read_text()
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BETWEEN = "\036"  # a control character that no tool prints


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The folder, to be changed at will."""
    return Path(shutil.copytree(DOCS / "examples", tmp_path / "docs" / "examples"))


def verified(example: Path) -> Verification:
    return verify_log(
        example / "case",
        signers=example / "allowed_signers",
        tsa_roots=example / "tsa-roots.pem",
        receipts=[str(example / "receipt.txt")],
    )


def test_it_verifies(example: Path) -> None:
    found = verified(example)
    assert found.codes == {"NO_HEAD_MEMORY"}, found.findings
    assert found.lines == 13
    first = found.coverage[0]
    assert (first.first, first.last) == (1, 10)


def test_its_evidence_is_known_again(example: Path) -> None:
    ledger = fold(read_records(str(example / "case" / "custody.jsonl")))
    found = check_evidence(ledger, str(example / "evidence"), invoking_user({}))
    assert [item.verdict for item in found.exhibits] == ["match"]


def test_its_lines_can_be_disclosed(example: Path, tmp_path: Path) -> None:
    made = disclose(str(example / "case" / "custody.jsonl"), exhibit="EX1")
    assert (list(made.lines), made.checkpoint.n) == ([2, 3, 4, 5, 6, 8, 9, 10], 2)
    write_disclosure(made, str(tmp_path / "out"))
    found = check_disclosure(
        str(tmp_path / "out"), signers=example / "allowed_signers", tsa_roots=example / "tsa-roots.pem"
    )
    assert found.findings == ()
    assert [trusted for _name, _time, trusted in found.stamps] == [True]


def test_it_is_what_its_generator_makes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, DOCS / "examples" / "make.py", tmp_path], check=True)
    made, there = files(tmp_path), files(DOCS / "examples")
    there.pop("make.py")
    assert made.keys() == there.keys()
    assert [name for name in made if made[name] != there[name]] == []


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def session(root: Path) -> list[tuple[str, str, str]]:
    """Run the guide's commands, all in one shell; each with what is printed after it there and what came out."""
    blocks = BLOCK.findall(GUIDE)
    script = "".join(f"{text}printf '{BETWEEN}'\n" for kind, text in blocks if kind == "sh")
    done = subprocess.run(["sh", "-c", script], cwd=root, capture_output=True, text=True, check=False)
    outputs = iter(done.stdout.split(BETWEEN))
    told: list[tuple[str, str, str]] = []
    for kind, text in blocks:
        if kind == "sh":
            told.append((text, "", next(outputs)))
        else:
            told[-1] = (told[-1][0], text, told[-1][2])
    assert next(outputs, None) == ""
    return told


def test_the_guide_as_it_is_printed(example: Path) -> None:
    told = session(example.parent.parent)
    assert len(told) > 5
    for commands, printed, came in told:
        assert came == printed, commands


def test_the_guide_needs_stock_tools_only() -> None:
    commands = "".join(text for kind, text in BLOCK.findall(GUIDE) if kind == "sh")
    assert "imgkit " not in commands.replace("custody@imgkit ", "")


def edit(example: Path) -> None:
    path = example / "case" / "custody.jsonl"
    path.write_bytes(path.read_bytes().replace(b"USB stick, red", b"USB stick, rot", 1))


def swap(example: Path) -> None:
    path = example / "case" / "custody.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[5], *lines[4:5], lines[3], *lines[6:]]))


def note(example: Path) -> None:
    (path,) = (example / "case" / "enclosures").iterdir()
    path.write_bytes(path.read_bytes().replace(b"intact", b"broken"))


def smuggle(example: Path) -> None:
    (example / "case" / "enclosures" / f"{'0' * 64}.txt").write_text("extra")


def body(example: Path) -> None:
    path = example / "case" / "checkpoints" / "000002.txt"
    path.write_bytes(path.read_bytes().replace(b"reason: transfer", b"reason: review"))


def other_key(example: Path) -> None:
    text = (example / "allowed_signers").read_text()
    (example / "allowed_signers").write_text(text.replace("jane.doe", "john.roe"))


def stamp(example: Path) -> None:
    for path in (example / "case" / "checkpoints").glob("*.tsr"):
        path.write_bytes(path.read_bytes().replace(b"\x17\x0d", b"\x17\x0e", 1)[:-3] + b"xyz")


def cut(example: Path) -> None:
    path = example / "case" / "custody.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:7]))
    for name in (example / "case" / "checkpoints").glob("000002*"):
        name.unlink()


def media(example: Path) -> None:
    path = example / "evidence" / "usb-stick.dd"
    path.write_bytes(path.read_bytes()[:-1] + b"!")


TAMPERINGS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "a line": (edit, "BREAK at line 3", "CHAIN_BREAK"),
    "order": (swap, "BREAK at line 4", "CHAIN_BREAK"),
    "a note": (note, "CHANGED", "ENCLOSURE_CHANGED"),
    "a file more": (smuggle, "CHANGED", "EXTRA_FILE"),
    "a checkpoint": (body, "000002.txt: FAILED", "SUMS"),
    "a key": (other_key, "", "BAD_SIGNATURE"),
    "a stamp": (stamp, "", "BAD_TIMESTAMP"),
    "the tail": (cut, "bytes DIFFERS", "TRUNCATED"),
    "the evidence": (media, "", ""),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampered_copy_shows_the_break(name: str, example: Path) -> None:
    """By the guide's own commands: somewhere before the forger's part, other lines come out than are printed."""
    tamper, said, code = TAMPERINGS[name]
    tamper(example)
    honest = session(example.parent.parent)[: GUIDE.partition("## What a forger gets")[0].count("```sh")]
    differing = [came for _commands, printed, came in honest if came != printed]
    assert differing
    assert any(said in came for came in differing)
    if code:
        assert code in verified(example).codes


def test_the_codes_on_the_page_of_threats_are_codes() -> None:
    text = (DOCS / "threats.md").read_text()
    words = set(re.findall(r"\b[A-Z]{3,}(?:_[A-Z]+)*\b", text))
    assert {word for word in words if "_" in word} <= set(CODES)
    found = {code for code, severity in CODES.items() if severity is Severity.FAIL}
    assert found - words == {"SCHEMA", "OUTCOME_NO_INTENT"}  # faults of a writer rather than of a forger
