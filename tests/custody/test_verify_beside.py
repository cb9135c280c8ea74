"""The files beside a log: enclosures changed, withheld or added; names that do not belong."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from imgkit.custody.verify import Verification, verify_log
from tests.custody.forge import NOTE, SHA, case

if TYPE_CHECKING:
    from pathlib import Path

ALONE = {"UNSIGNED_TAIL", "NO_RECEIPT", "NO_HEAD_MEMORY"}


def told(found: Verification, code: str) -> list[tuple[int | None, str]]:
    return [(finding.line, finding.message) for finding in found.findings if finding.code == code]


def test_enclosures_in_order(tmp_path: Path) -> None:
    case(tmp_path)
    found = verify_log(tmp_path)
    assert found.codes == ALONE
    assert "2 enclosures have the SHA-256 that the log states" in found.proved
    assert verify_log(tmp_path / "custody.jsonl").codes == ALONE


def test_changed(tmp_path: Path) -> None:
    case(tmp_path)
    (tmp_path / "enclosures" / f"{SHA}.txt").write_bytes(NOTE + b" ")
    found = verify_log(tmp_path)
    assert found.codes == ALONE | {"ENCLOSURE_CHANGED"}
    assert [line for line, _ in told(found, "ENCLOSURE_CHANGED")] == [13]
    assert found.exit_code == 1


def test_withheld(tmp_path: Path) -> None:
    case(tmp_path)
    (tmp_path / "enclosures" / f"{SHA}.txt").unlink()
    found = verify_log(tmp_path)
    assert found.codes == ALONE | {"ENCLOSURE_WITHHELD"}
    assert [line for line, _ in told(found, "ENCLOSURE_WITHHELD")] == [13]
    assert found.ok


def test_no_folder_at_all(tmp_path: Path) -> None:
    (tmp_path / "custody.jsonl").write_bytes(case(tmp_path).text)
    for name in os.listdir(tmp_path / "enclosures"):
        (tmp_path / "enclosures" / name).unlink()
    (tmp_path / "enclosures").rmdir()
    found = verify_log(tmp_path)
    assert found.codes == ALONE | {"ENCLOSURE_WITHHELD"}
    assert found.counts["ENCLOSURE_WITHHELD"] == 2


@pytest.mark.parametrize(
    "name", ["notes.txt", "0" * 64 + ".txt", f"{SHA}.pdf", f"{SHA}", f"{SHA}.txt\n", SHA.upper(), "a\u202eb"]
)
def test_added(name: str, tmp_path: Path) -> None:
    case(tmp_path)
    (tmp_path / "enclosures" / name).write_bytes(NOTE)
    found = verify_log(tmp_path)
    assert found.codes == ALONE | {"EXTRA_FILE"}
    assert found.exit_code == 1
    assert all(message.isascii() for _, message in told(found, "EXTRA_FILE"))


def test_what_a_killed_write_leaves_is_no_enclosure(tmp_path: Path) -> None:
    case(tmp_path)
    (tmp_path / "enclosures" / f".{SHA}.txt.0123.tmp").write_bytes(b"half")
    assert verify_log(tmp_path).codes == ALONE


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/hostname", path)])
def test_no_regular_file(make: object, tmp_path: Path) -> None:
    case(tmp_path)
    path = tmp_path / "enclosures" / f"{SHA}.txt"
    path.unlink()
    assert callable(make)
    make(path)
    found = verify_log(tmp_path)
    assert found.codes == ALONE | {"ENCLOSURE_CHANGED"}
    assert "no regular file" in told(found, "ENCLOSURE_CHANGED")[0][1]


def test_what_lies_in_receipts_proves_nothing(tmp_path: Path) -> None:
    case(tmp_path)
    (tmp_path / "receipts" / "given-1.txt").write_bytes(b"")
    assert verify_log(tmp_path).codes == ALONE


def test_no_file_of_a_checkpoint(tmp_path: Path) -> None:
    case(tmp_path)
    (tmp_path / "checkpoints" / "000001.txt.bak").write_bytes(b"")
    assert verify_log(tmp_path).codes == ALONE | {"EXTRA_FILE"}


def test_an_enclosure_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case(tmp_path)
    really = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith(f"{SHA}.txt"):
            raise PermissionError(13, "Permission denied", path)
        return really(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    found = verify_log(tmp_path)
    assert found.codes == ALONE | {"ENCLOSURE_WITHHELD"}
    assert "cannot be read: Permission denied" in told(found, "ENCLOSURE_WITHHELD")[0][1]
