"""The hint of a command that needs root: the whole command, paths absolute, and what sudo would drop."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from imgkit.cli.sudo_hint import with_sudo
from imgkit.errors import NotPermitted, UnknownFormat

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def ordinary_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.chdir(tmp_path)
    for name in ("IMGKIT_CASE", "IMGKIT_EXAMINER"):
        monkeypatch.delenv(name, raising=False)


def hint(monkeypatch: pytest.MonkeyPatch, *words: str) -> str | None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/imgkit", *words])
    return with_sudo(NotPermitted("no"))


def test_paths_are_absolute_whether_they_exist_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1").touch()  # a partition number is no path, whatever lies there
    expected = f"sudo /usr/bin/imgkit mount {tmp_path}/disk.dd -p 1 {tmp_path}/new --case {tmp_path}/c"
    assert hint(monkeypatch, "mount", "disk.dd", "-p", "1", "new", "--case", "c") == expected
    assert (
        hint(monkeypatch, "attach", "d", "--case=c")
        == f"sudo /usr/bin/imgkit attach {tmp_path}/d --case={tmp_path}/c"
    )


def test_a_device_name_is_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hint(monkeypatch, "detach", "loop3") == "sudo /usr/bin/imgkit detach loop3"


def test_what_sudo_drops_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGKIT_CASE", "case")
    monkeypatch.setenv("IMGKIT_EXAMINER", "Jane <j@x>")
    said = f"--case {tmp_path}/case --examiner 'Jane <j@x>'"
    assert hint(monkeypatch, "attach", "d") == f"sudo /usr/bin/imgkit attach {tmp_path}/d {said}"
    assert "--case /other" in str(hint(monkeypatch, "attach", "d", "--case", "/other"))
    assert f"{tmp_path}/case" not in str(hint(monkeypatch, "attach", "d", "--case", "/other"))


def test_other_errors_keep_their_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["imgkit", "attach", "d"])
    assert with_sudo(UnknownFormat("no", hint="look")) == "look"


def test_what_people_state_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("case", "transfer", "--to", "Bob <b@x>", "--image", "EX1=/d", "--seal", "12", "-o", "bag")
    said = f"case transfer --to 'Bob <b@x>' --image EX1=/d --seal 12 -o {tmp_path}/bag"
    assert hint(monkeypatch, *words) == f"sudo /usr/bin/imgkit {said}"
    assert (
        hint(monkeypatch, "case", "add", "d", "--description", "laptop")
        == f"sudo /usr/bin/imgkit case add {tmp_path}/d --description laptop"
    )


@pytest.mark.parametrize(
    "words",
    [
        ("hash", "-a", "sha256", "--progress", "json"),
        ("verify", "--expect", "sha256:00", "--algorithm=md5"),
        ("case", "note", "seal broken", "--exhibit", "EX1"),
        ("case", "new", "/c", "--number", "7", "--checkpoint", "each-command"),
        ("case", "store", "EX1", "EX2", "--place", "shelf"),
        ("log", "timestamp", "--url", "http://tsa.example/", "--name", "tsa"),
        ("log", "checkpoint", "--signer", "jane=key"),
    ],
    ids=" ".join,
)
def test_values_that_are_no_paths_stay(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    assert hint(monkeypatch, *words) == "sudo /usr/bin/imgkit " + shlex.join(words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verify", "d", "e", "--against", "sums"), "verify {0}/d {0}/e --against {0}/sums"),
        (("case", "enclose", "f", "--description", "g"), "case enclose {0}/f --description g"),
        (
            ("log", "verify", "c", "--signers=s", "--evidence", "e"),
            "log verify {0}/c --signers={0}/s --evidence {0}/e",
        ),
        (("log", "compare", "a", "b"), "log compare {0}/a {0}/b"),
        (("case", "receive", "bag", "-o", "r"), "case receive {0}/bag -o {0}/r"),
        (("expose", "loop3", "there"), "expose {0}/loop3 {0}/there"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_every_path_is_absolute(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hint(monkeypatch, *words) == "sudo /usr/bin/imgkit " + said.format(tmp_path)
