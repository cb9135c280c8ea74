"""Files and folders that are named wrongly: one line that names them, and no hint that speaks of something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.running import Imgkit

COMMANDS = [
    ("log", "verify", "case", "--signers", "none"),
    ("log", "verify", "case", "--revoked", "none"),
    ("log", "verify", "case", "--receipt", "none"),
    ("log", "verify", "case", "--tsa-roots", "none"),
    ("log", "timestamp", "case", "--reply", "none"),
    ("log", "compare", "case", "none"),
    ("log", "disclose", "--check", "none"),
    ("case", "receive", "none", "--case", "case"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_is_missing_is_named_and_is_no_case(
    imgkit: Imgkit, tmp_path: Path, command: tuple[str, ...]
) -> None:
    imgkit.folder = tmp_path
    imgkit("case", "new", "case").ended(0)
    imgkit("log", "checkpoint", "case").ended(0)
    done = imgkit(*command).ended(3)
    (error,) = done.errors
    assert "none" in error
    assert "No such file or directory" in error
    assert "--case" not in done.err


@pytest.mark.parametrize("text", ["", "none\n", "-----BEGIN CERTIFICATE-----\n"])
def test_roots_that_are_none_are_refused_where_nothing_is_stamped(
    imgkit: Imgkit, tmp_path: Path, text: str
) -> None:
    imgkit.folder = tmp_path
    imgkit("case", "new", "case").ended(0)
    (tmp_path / "roots.pem").write_text(text)
    done = imgkit("log", "verify", "case", "--tsa-roots", "roots.pem").ended(3)
    assert len(done.errors) == 1
