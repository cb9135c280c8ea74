"""Nothing but plain text leaves through a pipe, and nothing that a name holds reaches a terminal as it is."""

from __future__ import annotations

import os
import re
import unicodedata
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import unpacked

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.running import Done, Imgkit

HOSTILE = "new\nline \x1b[31mred\x1b[0m \u202etxt\u2066 \x9b bell\x07"
SHOWN = "new\\nline \\x1b[31mred\\x1b[0m \\u202etxt\\u2066 \\x9b bell\\x07"


def unprintable(text: str) -> list[str]:
    """Control, format (bidi) and surrogate characters, newline aside."""
    return [c for c in text if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn"}]


def plain(done: Done) -> Done:
    """The run, if both of its streams are plain text."""
    assert not unprintable(done.out)
    assert not unprintable(done.err)
    return done


def hostile_case(imgkit: Imgkit) -> Path:
    """A case whose every free text is hostile, with an image of a hostile name."""
    case = imgkit.folder / HOSTILE
    texts = [word for name in ("number", "title", "agency") for word in (f"--{name}", HOSTILE)]
    plain(imgkit("case", "new", case, *texts)).ended(0)
    imgkit.env |= {"IMGKIT_CASE": str(case), "IMGKIT_EXAMINER": f"{HOSTILE} <{HOSTILE}>"}
    imgkit.image(f"{HOSTILE}.dd")
    return case


def test_every_command_prints_hostile_names_escaped(imgkit: Imgkit) -> None:
    case = hostile_case(imgkit)
    image = f"{HOSTILE}.dd"
    for words in (
        ("case", "add", image, "--description", HOSTILE, "--make", HOSTILE, "--digest", "md5:" + "0" * 32),
        ("info", image, "--reason", HOSTILE),
        ("partitions", image),
        ("verify", image),
        ("case", "note", HOSTILE),
        ("case", "enclose", image, "--description", HOSTILE),
        ("case", "correct", "2", "exhibit", HOSTILE, "--why", HOSTILE),
        ("case", "show"),
        ("log", "show"),
        ("log", "verify"),
        ("hash", image, "-p", "1"),
        ("hash", image, "--exhibit", HOSTILE),
        ("hash", image, "-a", HOSTILE),
        ("verify", image, "--expect", HOSTILE),
        ("verify", image, "--against", HOSTILE),
        ("attach", image, "-p", HOSTILE),
        ("detach", HOSTILE),
        ("hash", HOSTILE),
        ("hash", "missing" + HOSTILE),
        ("info", image, "--case", HOSTILE + "/"),
        ("hash", image, "--case", HOSTILE + "none"),
        ("case", "new", case),
        (HOSTILE,),
        ("case", HOSTILE),
        ("hash", image, "--" + HOSTILE),
    ):
        plain(imgkit(*words))
    for words in (("info", image), ("verify", image), ("case", "show"), ("log", "show"), ("hash", HOSTILE)):
        plain(imgkit(*words, "--json"))
    shown = imgkit("log", "show").out
    assert SHOWN in shown


def test_hostile_names_stay_whole_in_json_and_in_the_log(imgkit: Imgkit) -> None:
    hostile_case(imgkit)
    document = imgkit("info", f"{HOSTILE}.dd", "--json").ended(0).json
    assert document["image"]["path"].endswith(HOSTILE + ".dd") or "path_b64" in document["image"]
    record = imgkit.records(imgkit.folder / HOSTILE / "custody.jsonl")[0]
    assert record["data"]["number"] in {HOSTILE, SHOWN}


def test_checksum_lines_alone_keep_the_bytes_of_a_name(imgkit: Imgkit) -> None:
    imgkit.image("esc\x1b.dd")
    done = imgkit("hash", "esc\x1b.dd").ended(0)
    assert "(esc\x1b.dd)" in done.out
    assert not unprintable(done.err)
    assert "\x1b" not in imgkit("verify", "esc\x1b.dd").out


def test_names_out_of_a_hostile_table_are_escaped(imgkit: Imgkit) -> None:
    disk = unpacked(imgkit, "gpt_hostile_name.img.gz")
    text = plain(imgkit("partitions", disk).ended(0))
    assert "\\" in text.out
    names = [item["name"] for item in imgkit("partitions", disk, "--json").ended(0).json["partitions"]]
    assert any(unprintable(name) for name in names)
    shown = imgkit.on_terminal("partitions", disk)
    for name in names:
        if unprintable(name):
            assert name not in shown
    plain(imgkit("log", "show").ended(0))


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"FORCE_COLOR": "1"},
        {"CLICOLOR_FORCE": "1"},
        {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
        {"TTY_COMPATIBLE": "1"},
        {"GITHUB_ACTIONS": "true"},
        {"PY_COLORS": "1"},
    ],
    ids=str,
)
def test_no_escape_codes_in_pipes_whatever_the_environment_says(
    imgkit: Imgkit, gpt_disk: str, variables: dict[str, str | None]
) -> None:
    for words in (("partitions", gpt_disk), ("log", "show"), ("--help",), ("hash", "--help"), ("hash",)):
        done = imgkit(*words, env=variables)
        assert "\x1b" not in done.out + done.err, words


ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_a_dumb_terminal_gets_plain_lines(imgkit: Imgkit, gpt_disk: str) -> None:
    for words in (("partitions", gpt_disk), ("status",), ("log", "show"), ("hash", "--help")):
        assert "\x1b" not in imgkit.on_terminal(*words, TERM="dumb"), words


def test_no_color_means_no_color(imgkit: Imgkit, gpt_disk: str) -> None:
    for words in (("partitions", gpt_disk), ("log", "show"), ("hash", "--help"), ("hash",)):
        shown = imgkit.on_terminal(*words, NO_COLOR="1")
        colours = [code for code in ESCAPES.findall(shown) if code.endswith("m")]
        coloured = [code for code in colours if re.search(r"[\[;](3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]", code)]
        assert not coloured, words


def test_other_encodings_escape_what_they_lack(imgkit: Imgkit) -> None:
    imgkit.image("日本 ä.dd")
    for encoding in ("ascii", "latin-1"):
        env: dict[str, str | None] = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"}
        for words in (("hash", "日本 ä.dd"), ("info", "日本 ä.dd"), ("--help",), ("log", "show")):
            done = imgkit(*words, env=env).ended(0)
            assert done.out
    done = imgkit("hash", "日本 ä.dd", env={"LC_ALL": "C", "LANG": None}).ended(0)
    assert "日本 ä.dd" in done.out


def test_what_a_script_takes_is_all_there_is_on_stdout(imgkit: Imgkit) -> None:
    image = imgkit.image()
    done = imgkit("hash", image, "-a", "sha256").ended(0)
    assert re.fullmatch(rf"[0-9a-f]{{64}}  {re.escape(os.fspath(image))}\n", done.out)
    assert done.err.splitlines() == ["own log, as Jane Doe <jane@lab.example>, line 2"]
