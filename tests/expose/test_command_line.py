"""What the command line of a process says, and that nothing else is taken for one of ours."""

from __future__ import annotations

import os

import pytest

from imgkit.expose import command_line
from imgkit.expose.command_line import BLANK_STATE, Served, parse, words

START = [b"/usr/bin/python3", b"-I", b"-S", b"-B", b"/opt/imgkit/expose/child.py"]


def raw(*, state: str = BLANK_STATE, name: str = "disk.dd", start: list[bytes] = START) -> bytes:
    told = [os.fsencode(word) for word in words(name=name, path="/evidence/disk.E01", size=4096, ino=1 << 40)]
    return b"\0".join([*start, *told[:-1], state.encode()]) + b"\0"


def test_before_the_file_is_seen() -> None:
    assert parse(raw()) == Served("disk.dd", "/evidence/disk.E01", 4096, 1 << 40, 0, "none")


@pytest.mark.parametrize("guard", ["lease", "none"])
def test_once_it_is_seen(guard: str) -> None:
    state = f"state:dev=2f,guard={guard}".ljust(len(BLANK_STATE), ".")
    found = parse(raw(state=state))
    assert found is not None
    assert (found.dev, found.guard) == (0x2F, guard)


def test_any_bytes_in_a_name() -> None:
    name = os.fsdecode(b"a \xff\n\\,:")
    found = parse(raw(name=name))
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b"\0",
        b"sleep\x001\0",
        raw(start=[b"/usr/bin/python3", b"/opt/other/child.py"]),
        raw().replace(b"imgkit-exposure", b"something-else"),
        raw().replace(b"\x004096\0", b"\0many\0"),
        raw()[:40],
        b"\0" * 100,
        b"grep\x00/imgkit/expose/child.py\0",
    ],
)
def test_others(other: bytes) -> None:
    assert parse(other) is None


@pytest.mark.parametrize(
    "state", ["", "state:dev=,guard=lease", "state:dev=2f,guard=all", "state:dev=-1,guard=none", "x"]
)
def test_a_state_that_means_nothing(state: str) -> None:
    found = parse(raw(state=state))
    assert found is not None
    assert (found.dev, found.guard) == (0, "none")


def test_the_state_fits_whatever_the_numbers() -> None:
    longest = f"state:dev={(1 << 64) - 1:x},guard=lease"
    assert len(longest) <= len(BLANK_STATE)


def test_a_process_without_the_word_is_not_written_to() -> None:
    with pytest.raises(ValueError, match="not found"):
        command_line.StateWord()
