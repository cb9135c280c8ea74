"""The worked example of docs/guide/custody.md, typed as it is printed: Jane hands over, Bob receives."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from tests.cli.running import Imgkit

GUIDE = (ROOT / "docs/guide/custody.md").read_text(encoding="utf-8")
BOB = "Bob Roe <bob@court.example>"


def section(title: str) -> list[list[str]]:
    """The commands of a section, in words."""
    text = GUIDE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    return [shlex.split(line) for line in re.findall(r"^    (.+)$", text, re.MULTILINE)]


def test_there_is_something_to_type() -> None:
    assert len(section("Hand over and receive")) == 4


def test_hand_over_and_receive(imgkit: Imgkit) -> None:
    imgkit.image("disk.dd")
    imgkit.case("A", "--number", "2026-0142")
    imgkit("case", "add", "disk.dd", "--case", "A").ended(0)
    bob = {"XDG_STATE_HOME": str(imgkit.base / "bobs-state"), "IMGKIT_EXAMINER": BOB}
    imgkit("case", "new", "B", env=dict(bob)).ended(0)
    for words in section("Hand over and receive"):
        if words[0] == "cd":
            subprocess.run(
                ["sh", "-c", f"cd {words[1]} && {shlex.join(words[3:])}"], cwd=imgkit.folder, check=True
            )
        else:
            imgkit(*words[1:], env=dict(bob) if words[2] == "receive" else {}).ended(0)
    imgkit("log", "verify", "B", "--receipt", "receipt-for-jane.txt", env=dict(bob)).ended(0)
    imgkit("log", "verify", "A").ended(0)


@pytest.mark.parametrize("title", ["Who holds an exhibit", "Close a case"])
def test_the_other_sections(imgkit: Imgkit, title: str) -> None:
    case = {"IMGKIT_CASE": str(imgkit.case("A"))}
    imgkit.image("disk.dd")
    imgkit.image("copy.dd")
    if title == "Close a case":
        imgkit("case", "add", "disk.dd", env=dict(case)).ended(0)
        imgkit("hash", "disk.dd", env=dict(case)).ended(0)
    for words in section(title):
        imgkit(*words[1:], env=dict(case)).ended(0)
