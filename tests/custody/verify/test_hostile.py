"""Checkpoints made to harm the verifier: it answers, whatever lies there."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.custody.verify import verify_log
from tests.custody.verify.sealed import Sealed, sealed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.custody.verify.sealed import Authority, Key


def checked(made: Sealed, folder: Path, **outside: Any) -> frozenset[str]:
    """Verify it: findings of a bounded length in ASCII, whatever was in the files."""
    found = verify_log(made.write(folder), **outside)
    for finding in found.findings:
        assert finding.message.isascii()
        assert len(finding.message) < 1000
    return found.codes


@pytest.mark.parametrize("data", [
    {"n": -1}, {"n": 0}, {"n": 2**53 - 1}, {"n": "1"}, {"n": True}, {"body": []}, {"body": "x"}, {"signature": 5},
    {"signature": {"a": 1}}, {"file": []}, {"merkle": {}}, {"prev": 7}, {"signer": []}, {"reason": {}}, {"size": 0},
    {"size": 2**53 - 1}, {"bytes": 0},
], ids=str)  # fmt: skip
def test_records(data: dict[str, Any], tmp_path: Path) -> None:
    made = sealed()
    facts = made.facts() | {"n": 3, "prev": "5" * 64, "body": "5" * 64, "signer": "-", "reason": "x"}
    made.forge.event("log.checkpointed", facts | data)
    assert checked(made, tmp_path) & {"CHECKPOINT_CHAIN", "TRUNCATED", "FORKED"}


@pytest.mark.parametrize("data", [
    {}, {"file": 5, "sha256": []}, {"file": "../../etc/passwd", "sha256": "x"}, {"file": "a\u202eb", "sha256": "5" * 64},
], ids=str)  # fmt: skip
def test_records_of_stamps(data: dict[str, Any], tmp_path: Path) -> None:
    made = sealed()
    made.forge.event("log.anchored", data)
    checked(made, tmp_path)


def test_garbage_in_every_file(jane: Key, authority: Authority, signers: Path, tmp_path: Path) -> None:
    noise = random.Random(5)
    whole = sealed(jane, authority)
    for round_ in range(40):
        made = Sealed(whole.forge, files=dict(whole.files))
        name = noise.choice(sorted(made.files))
        data = bytearray(made.files[name])
        for _ in range(noise.choice((1, 1, 5, 50))):
            data[noise.randrange(len(data))] = noise.randrange(256)
        made.files[name] = bytes(data) if round_ % 4 else noise.randbytes(noise.randrange(9000))
        folder = tmp_path / str(round_)
        if made.files[name] != whole.files[name]:
            codes = checked(made, folder, signers=signers, tsa_roots=authority.roots)
            assert codes & {"CHECKPOINT_CHAIN", "SUMS", "BAD_SIGNATURE", "BAD_TIMESTAMP"}, name


def test_what_is_no_file(jane: Key, signers: Path, tmp_path: Path) -> None:
    import os

    made = sealed(jane)

    def link(path: Path) -> None:
        path.symlink_to("/etc/hostname")

    makers: tuple[Callable[[Path], None], ...] = (os.mkdir, os.mkfifo, link)
    for number, make in enumerate(makers):
        folder = made.write(tmp_path / str(number))
        for name in ("000001.txt", "000001.txt.sig", "000001.sums"):
            (folder / "checkpoints" / name).unlink()
            make(folder / "checkpoints" / name)
        found = verify_log(folder, signers=signers)
        assert found.codes & {"CHECKPOINT_CHAIN", "BAD_SIGNATURE", "SUMS"} == {"CHECKPOINT_CHAIN"}


def test_names(tmp_path: Path) -> None:
    made = sealed()
    names = (
        "a\nb",
        "\u202e.txt",
        "000000.txt",
        "0000001.txt",
        "000001.TXT",
        "000001.sums..tsr.bak",
        "-rf",
        "1" * 15 + ".sums",
    )
    for name in names:
        made.files[name] = b""
    found = verify_log(made.write(tmp_path))
    assert found.counts["EXTRA_FILE"] == len(names)


def test_sizes(tmp_path: Path) -> None:
    """Files are read up to what they may have."""
    made = sealed()
    made.files["000001.txt"] = b"x" * 5_000_000
    made.files["000002.sums"] = b"x" * 5_000_000
    assert "CHECKPOINT_CHAIN" in checked(made, tmp_path)
