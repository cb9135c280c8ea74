"""The JSON of every `case` command has the keys that docs/cli.md names, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.running import Imgkit

DOCS = Path(__file__).parents[2] / "docs/cli.md"
JANE, BOB, CAROL = "Jane Doe <jane@lab.example>", "Bob Roe <bob@court.example>", "Carol <carol@lab.example>"
# command, words, who
STORY: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("new", ("A", "--number", "7", "--checkpoint", "each-command"), JANE),
    ("add", ("disk.dd", "--serial", "S3Z9", "--authorised", CAROL), JANE),
    ("note", ("seen", "--exhibit", "EX1"), JANE),
    ("enclose", ("letter.pdf",), JANE),
    ("correct", ("3", "data.source.serial", "S3Z8", "--why", "misread"), JANE),
    ("store", ("EX1", "--place", "room 3"), JANE),
    ("review", (), CAROL),
    ("transfer", ("--to", BOB, "-o", "bag", "--with-images"), JANE),
    ("receive", ("bag", "-o", "receipt.txt"), BOB),
    ("show", (), JANE),
    ("dispose", ("EX1", "--method", "returned"), BOB),
    ("seal", (), JANE),
    ("reopen", ("--reason", "appeal"), JANE),
)


def keys_of(text: str) -> set[str]:
    """The keys of the outermost object that a text with ellipses begins with."""
    depth, found = 0, set()
    for match in re.finditer(r'"((?:[^"\\]|\\.)*)"(\s*:)?|[{}\[\]]', text):
        token = match[0]
        if token in "{[":
            depth += 1
        elif token in "}]":
            depth -= 1
            if depth == 0:
                break
        elif match[2] and depth == 1:
            found.add(match[1])
    return found


def documented(command: str) -> set[str]:
    (start,) = [
        m.start() for m in re.finditer(rf'\{{"schema":"imgkit\.case\.{command}\.v1"', DOCS.read_text())
    ]
    return keys_of(DOCS.read_text()[start:])


@pytest.fixture
def documents(imgkit: Imgkit) -> dict[str, dict[str, Any]]:
    """What each command of a whole story prints."""
    imgkit.image("disk.dd")
    imgkit.image("letter.pdf")
    found = {}
    for command, words, who in STORY:
        case = () if command == "new" else ("--case", "A")
        found[command] = (
            imgkit("case", command, *words, *case, "--json", env={"IMGKIT_EXAMINER": who}).ended(0).json
        )
    return found


def test_every_case_command_is_documented_key_by_key(documents: dict[str, dict[str, Any]]) -> None:
    for command, document in documents.items():
        assert document["schema"] == f"imgkit.case.{command}.v1"
        assert set(document) == documented(command), command


def test_an_exhibit_is_documented_key_by_key(documents: dict[str, dict[str, Any]]) -> None:
    text = DOCS.read_text()
    start = text.index('"exhibits":[{', text.index("imgkit.case.show.v1", text.index("\ncase show:\n"))) + 12
    (exhibit,) = documents["show"]["exhibits"]
    assert set(exhibit) == keys_of(text[start:])
    possession = text.index('"possession":{', start) + 13
    assert set(exhibit["possession"]) == keys_of(text[possession:])
