"""On a terminal of 80 columns: nothing is broken within a word, nothing runs over, progress comes and goes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import unpacked

if TYPE_CHECKING:
    from tests.cli.running import Imgkit

ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07)")


def shown(imgkit: Imgkit, *words: str) -> list[str]:
    """Lines as a person sees them."""
    return ESCAPES.sub("", imgkit.on_terminal(*words)).splitlines()


def check_width(lines: list[str]) -> None:
    """Each line fits, or is one word that nobody can break, or a command to be copied."""
    for line in lines:
        fits = len(line) <= 80
        assert fits or len(line.split()) == 1 or line.startswith("hint: "), line


@pytest.mark.parametrize("fixture", ["gpt_hostile_name.img.gz", "mbr_logicals.img.gz", "gpt_hybrid.img.gz"])
def test_partitions_are_a_table_and_a_map(imgkit: Imgkit, fixture: str) -> None:
    disk = unpacked(imgkit, fixture)
    lines = shown(imgkit, "partitions", disk)
    check_width(lines)
    assert any("─" * 40 in line for line in lines)
    assert any(re.fullmatch(r"[█▓▒░]{80}", line) for line in lines)
    piped = imgkit("partitions", disk).lines
    assert not any("█" in line or "─" in line for line in piped)


def test_what_a_case_tells_fits(imgkit: Imgkit) -> None:
    disk = unpacked(imgkit, "gpt_ok.img.gz")
    case = imgkit.case("case", "--title", "word " * 40)
    imgkit.env["IMGKIT_CASE"] = str(case)
    imgkit("case", "add", disk, "--description", "laptop " * 30, "--digest", "md5:" + "0" * 32)
    for words in (
        ("info", disk),
        ("partitions", disk),
        ("verify", disk),
        ("hash", disk, "-a", "md5"),
        ("case", "show"),
        ("log", "show"),
        ("log", "verify"),
        ("doctor",),
        ("status",),
    ):
        check_width(shown(imgkit, *words))
    lines = shown(imgkit, "log", "show")
    assert any(
        re.match(r" +1  \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ \([+-]\d\d:\d\d\)  Jane Doe", line) for line in lines
    )


def test_a_digest_stays_whole(imgkit: Imgkit) -> None:
    image = imgkit.image()
    digest = imgkit("hash", image, "-a", "sha256").out.split()[0]
    assert any(f"sha256:{digest}" in line for line in shown(imgkit, "verify", "disk.dd"))


def test_a_command_in_a_hint_stays_whole(imgkit: Imgkit) -> None:
    name = "evidence " * 12 + ".dd"
    done = shown(imgkit, "case", "show", name)
    hints = [line for line in done if line.startswith("hint: ")]
    assert len(hints) == 1
    assert "evidence evidence" in hints[0]


def test_progress_comes_after_a_second_and_goes(imgkit: Imgkit) -> None:
    path = imgkit.folder / "big.dd"
    with path.open("xb") as file:
        file.truncate(600 << 20)
    text = imgkit.on_terminal("hash", "-a", "sha3_512", "big.dd")
    assert "MiB" in text
    assert "big.dd" in text
    assert re.search(r"\d:\d\d:\d\d", text)  # time left
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0  # the cursor is back
    assert ESCAPES.sub("", text).splitlines()[-1].endswith("  big.dd")


def test_short_work_shows_no_progress(imgkit: Imgkit) -> None:
    text = imgkit.on_terminal("hash", "-a", "md5", imgkit.image())
    assert "\x1b[?25l" not in text


def test_an_interrupt_takes_the_progress_away(imgkit: Imgkit) -> None:
    path = imgkit.folder / "big.dd"
    with path.open("xb") as file:
        file.truncate(1 << 40)
    text = imgkit.on_terminal("hash", "-a", "md5", "big.dd", interrupt_at="\x1b[?25l")  # progress is shown
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0
    assert "imgkit: error: interrupted" in text


def test_root_is_asked_who_acts(imgkit: Imgkit) -> None:
    import os
    from pathlib import Path

    from tests.conftest import need

    need(os.geteuid() == 0, "needs root")
    need(Path("/proc/self/loginuid").read_text(encoding="ascii") == "4294967295", "somebody has logged in")
    imgkit.image()
    text = imgkit.on_terminal(
        "hash", "-a", "md5", "disk.dd", typed="Jane Doe <jane@lab>\n", IMGKIT_EXAMINER=None
    )
    assert "who is the examiner" in text
    assert imgkit.records()[-1]["actor"] == {"name": "Jane Doe", "id": "jane@lab"}
    text = imgkit.on_terminal("hash", "disk.dd", typed="\x04", IMGKIT_EXAMINER=None)
    assert "Traceback" not in text
    assert "interrupted" in text
