"""Help of every command: one example, 80 columns; shell completion works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from imgkit import __version__
from tests.cli.running import COMMAND

if TYPE_CHECKING:
    from tests.cli.running import Imgkit

COMMANDS = [
    *("info", "hash", "verify", "partitions", "attach", "detach", "mount", "unmount", "status"),
    *("expose", "unexpose", "doctor", "selftest", "demo"),
    *("case new", "case add", "case show", "case note", "case enclose", "case correct"),
    *(
        "case transfer",
        "case receive",
        "case store",
        "case dispose",
        "case review",
        "case seal",
        "case reopen",
    ),
    "case report",
    *("log show", "log verify", "log checkpoint", "log accept-rollback"),
    *("log receipt", "log timestamp", "log compare", "log disclose"),
]
GROUPS = ["", "case", "log"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_with_one_example(imgkit: Imgkit, command: str) -> None:
    done = imgkit(*command.split(), "--help").ended(0)
    assert max(len(line) for line in done.lines) <= 80
    assert done.err == ""
    assert not re.search(r"[A-Z](\.\.\.)? +\[required\]", done.out), "an argument without a help"
    text = " ".join(done.out.split())
    (example,) = re.findall(r"Example: (.*)$", text)
    words = shlex.split(example.split(" > ")[0].replace("dev=$(", "").removesuffix(")"))
    words = words[words.index("imgkit") + 1 :]
    assert words[: len(command.split())] == command.split()
    if command in {"demo", "selftest"}:
        return
    # What it names is not there, so it is not done; but it is understood.
    alone = command in {"status", "doctor", "unexpose", "case new", "log compare"}
    done = imgkit(*words) if alone else imgkit(*words, "--case", "nowhere")
    assert done.code in {0, 3} or "9f86d081" in example, done.err


@pytest.mark.parametrize("group", GROUPS)
def test_groups_list_their_commands(imgkit: Imgkit, group: str) -> None:
    done = imgkit(*group.split(), "--help").ended(0)
    assert max(len(line) for line in done.lines) <= 80
    for command in COMMANDS:
        if command.startswith(f"{group} ") or (not group and " " not in command):
            assert re.search(rf"^\W*{command.split()[-1]}\s", done.out, re.MULTILINE), command


def test_the_commands_listed_are_all_there_are(imgkit: Imgkit) -> None:
    shown = set()
    for group in GROUPS:
        text = imgkit(*group.split(), "--help").out
        names = re.findall(r"^│ ([a-z][a-z-]+) ", text, re.MULTILINE)
        shown |= {f"{group} {name}".strip() for name in names} - {"case", "log"}
    assert shown == set(COMMANDS)


def test_version(imgkit: Imgkit) -> None:
    assert imgkit("--version").ended(0).out == f"imgkit {__version__}\n"
    done = subprocess.run(
        [os.path.dirname(COMMAND) + "/python", "-m", "imgkit", "--version"], capture_output=True, check=True
    )
    assert done.stdout.decode() == f"imgkit {__version__}\n"


def completed(imgkit: Imgkit, line: str) -> list[str]:
    """What bash would offer at the end of a line."""
    words = line.split(" ")
    env: dict[str, str | None] = {
        "_IMGKIT_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    return imgkit(env=env).ended(0).lines


def test_completion_offers_commands_and_options(imgkit: Imgkit) -> None:
    assert {"info", "hash", "verify", "attach", "case", "log"} <= set(completed(imgkit, "imgkit "))
    assert completed(imgkit, "imgkit par") == ["partitions"]
    assert {"new", "add", "show", "note", "enclose", "correct"} <= set(completed(imgkit, "imgkit case "))
    assert "--against" in completed(imgkit, "imgkit verify --ag")
    assert set(completed(imgkit, "imgkit hash --pro")) == {"--progress"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(imgkit: Imgkit, shell: str) -> None:
    env: dict[str, str | None] = {"_IMGKIT_COMPLETE": f"source_{shell}"}
    done = imgkit(env=env).ended(0)
    assert "_IMGKIT_COMPLETE" in done.out
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=done.out.encode(), check=True)
