"""log verify with what a verifier brings: the text, the document, the exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.custody.keys import make_key, public

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.running import Imgkit

JANE = "jane@lab.example"  # the id of the examiner of these tests


@pytest.fixture
def signers(tmp_path: Path) -> Path:
    key = make_key(tmp_path / "id")
    path = tmp_path / "my signers"
    path.write_text(f"{JANE} {' '.join(public(key).split()[:2])}\n")
    return path


@pytest.fixture
def case(imgkit: Imgkit, tmp_path: Path, signers: Path) -> Path:
    """A case that was signed; its receipt is in `receipt.txt`, outside."""
    folder = imgkit.case("case", "--number", "2026-0142")
    assert signers.is_file()
    done = imgkit("log", "checkpoint", folder, "--signer", tmp_path / "id").ended(0)
    receipt = next(line.split(None, 1)[1] for line in done.lines if line.startswith("receipt"))
    (tmp_path / "receipt.txt").write_text(receipt + "\n")
    return folder


def test_the_text(imgkit: Imgkit, case: Path, signers: Path, tmp_path: Path) -> None:
    done = imgkit("log", "verify", case, "--signers", signers, "--receipt", tmp_path / "receipt.txt").ended(0)
    told = "no time stamp; held by receipt of 1 line; remembered by this host"
    assert f"  line 1: signed by {JANE} (trusted); {told}" in done.lines
    assert "  line 2: not signed; no time stamp; no receipt; remembered by this host" in done.lines
    assert done.lines[-1] == "verdict: in order"
    for code in ("SELF_ASSERTED", "NO_RECEIPT", "UNSIGNED_TAIL", "NO_HEAD_MEMORY"):
        assert code not in done.out
    assert "that a key was in its owner's hands when it signed" in done.out


def test_the_document(imgkit: Imgkit, case: Path, signers: Path, tmp_path: Path) -> None:
    receipt = (tmp_path / "receipt.txt").read_text()
    done = imgkit("log", "verify", case, "--signers", signers, "--receipt", receipt, "--json").ended(0)
    document = json.loads(done.out)
    first, last = document["coverage"]
    assert first == {
        "first": 1,
        "last": 1,
        "signed_by": [f"{JANE} (trusted)"],
        "stamped": [],
        "receipts": [1],
        "memory": True,
    }
    assert (last["signed_by"], last["receipts"], last["memory"]) == ([], [], True)
    assert set(document["counts"]) - {"CLOCK_UNSYNC"} == {"TIMESTAMP_MISSING"}


def test_nothing_brought(imgkit: Imgkit, case: Path) -> None:
    done = imgkit("log", "verify", case).ended(0)
    assert "WARN  SELF_ASSERTED: " in done.out
    assert "WARN  NO_RECEIPT: " in done.out


def test_written_anew(imgkit: Imgkit, case: Path, signers: Path, tmp_path: Path) -> None:
    log = case / "custody.jsonl"
    log.write_bytes(log.read_bytes().replace(b"2026-0142", b"2026-0143", 1))
    done = imgkit("log", "verify", case, "--signers", signers, "--receipt", tmp_path / "receipt.txt").ended(1)
    assert done.lines[-1] == "verdict: FAILED"
    assert "FAIL  FORKED: line 1: the receipt says otherwise of line 1" in done.lines


@pytest.mark.parametrize("option", ["--signers", "--revoked", "--tsa-roots", "--receipt"])
def test_what_is_not_there(option: str, imgkit: Imgkit, case: Path, tmp_path: Path) -> None:
    done = imgkit("log", "verify", case, option, tmp_path / "none").ended(3)
    assert "none" in done.err
    assert "No such file or directory" in done.err
