"""What the documentation says can be typed: every command and option in it exists, every link leads somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import typer

from imgkit import errors
from imgkit.cli.app import COMMANDS, build_app

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
COMMAND_LINE = re.compile(r"^    (?:\$ )?(?:sudo )?imgkit (?P<words>(?:[^│|>\n]|(?<=\S)>)*)", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def command_lines(page: Path) -> Iterator[list[str]]:
    for match in COMMAND_LINE.finditer(page.read_text()):
        text = re.split(r"\s{2,}|\s&&|\s#", match["words"], maxsplit=1)[0]
        yield shlex.split(text)


ALL_LINES = [(name(page), words) for page in PAGES for words in command_lines(page)]


def resolved(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words call, and what is left of them."""
    command: Any = typer.main.get_command(build_app(words))
    rest = list(words)
    while hasattr(command, "commands"):
        assert rest, "a group without its command"
        word = rest.pop(0)
        assert word in command.commands, f"no command {word}"
        command = command.commands[word]
    return command, rest


def test_commands_are_found_in_the_pages() -> None:
    assert {words[0] for _page, words in ALL_LINES} >= {
        "verify",
        "partitions",
        "mount",
        "case",
        "log",
        "doctor",
    }


@pytest.mark.parametrize(
    ("page", "words"), ALL_LINES, ids=lambda value: value if isinstance(value, str) else "_".join(value)
)
def test_what_is_shown_can_be_typed(page: str, words: list[str]) -> None:
    command, rest = resolved(words)
    context = click.Context(command, info_name="imgkit", resilient_parsing=False)
    command.make_parser(context).parse_args(list(rest))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text()) if target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_command_is_in_the_reference() -> None:
    text = (ROOT / "docs/cli.md").read_text()
    assert [
        command for command in COMMANDS if not re.search(rf"^\| `{command}[ `]", text, re.MULTILINE)
    ] == []


def test_every_kind_of_error_is_in_the_reference() -> None:
    text = (ROOT / "docs/cli.md").read_text().partition("Kinds: ")[2].partition("\n\n")[0]
    listed: set[str] = set()
    for kind, below in re.findall(r"`([a-z-]+)`(?: \(([^)]*)\))?", text):
        listed |= {kind, *(kind + more for more in re.findall(r"`([^`]+)`", below))}
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = {kind.kind for kind in classes if issubclass(kind, errors.ImgkitError)} - {"error"}
    assert listed == kinds | {"os", "interrupted", "terminated", "internal"}


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs/adr/README.md").read_text()
    assert [page.name for page in (ROOT / "docs/adr").glob("0*.md") if f"({page.name})" not in listed] == []
