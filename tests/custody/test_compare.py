"""Two copies of a log: same, beginning, fork, and copies that the way changed (gzip, CRLF, BOM, blanks)."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest

from imgkit.custody.compare import compare_logs
from imgkit.errors import CustodyError
from tests.custody import forge

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgkit.custody.compare import LogComparison

LINES = forge.usual().lines


@pytest.fixture
def compared(tmp_path: Path) -> Callable[[bytes, bytes], LogComparison]:
    """Compare two contents; both files are as they were after it."""

    def compare(a: bytes, b: bytes) -> LogComparison:
        paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
        for path, data in zip(paths, (a, b), strict=True):
            path.write_bytes(data)
        found = compare_logs(*paths)
        assert [path.read_bytes() for path in paths] == [a, b]
        return found

    return compare


def test_the_same(compared: Callable[[bytes, bytes], LogComparison]) -> None:
    found = compared(b"".join(LINES), b"".join(LINES))
    assert (found.relation, found.exit_code, found.more, found.difference) == ("same", 0, 0, None)
    assert (found.common, found.common_head) == (len(LINES), forge.line_hash(LINES[-1]))
    with pytest.raises(TypeError):
        bool(found)


@pytest.mark.parametrize("kept", [1, 5, len(LINES) - 1])
@pytest.mark.parametrize("shorter", ["a", "b"])
def test_one_is_the_beginning(
    compared: Callable[[bytes, bytes], LogComparison], kept: int, shorter: str
) -> None:
    short, whole = b"".join(LINES[:kept]), b"".join(LINES)
    found = compared(short, whole) if shorter == "a" else compared(whole, short)
    assert (found.relation, found.shorter, found.exit_code) == ("prefix", shorter, 0)
    assert (found.more, found.common) == (len(LINES) - kept, kept)
    assert found.common_head == forge.line_hash(LINES[kept - 1])


def test_a_cut_at_every_byte_of_the_last_line_is_a_beginning(
    compared: Callable[[bytes, bytes], LogComparison],
) -> None:
    whole = b"".join(LINES)
    for cut in range(1, len(LINES[-1]) + 1):
        found = compared(whole[:-cut], whole)
        assert (found.relation, found.shorter, found.more) == ("prefix", "a", 1)
        assert found.a.rest == len(LINES[-1]) - cut


def test_every_changed_byte_of_a_line_is_found_there(
    compared: Callable[[bytes, bytes], LogComparison],
) -> None:
    for at in range(len(LINES[4]) - 1):
        line = LINES[4][:at] + bytes([LINES[4][at] ^ 1]) + LINES[4][at + 1 :]
        found = compared(b"".join(LINES), b"".join([*LINES[:4], line, *LINES[5:]]))
        assert (found.relation, found.exit_code, found.common) == ("forked", 1, 4)
        assert found.difference is not None
        assert found.difference.line == 5
        assert found.difference.fields or found.difference.remarks


def test_an_edit_is_told_field_by_field_and_which_copy_was_changed(
    compared: Callable[[bytes, bytes], LogComparison],
) -> None:
    record = forge.parse(LINES[2])
    value = record["data"]["digests"]["sha256"]
    record["data"]["digests"]["sha256"] = "0" * 64
    record["data"]["new"] = {}
    found = compared(b"".join(LINES), b"".join([*LINES[:2], forge.encode(record), *LINES[3:]]))
    assert found.difference is not None
    told = [(item.field, item.a, item.b) for item in found.difference.fields]
    assert told == [("data.digests.sha256", value, "0" * 64), ("data.new", None, "{}")]
    assert found.difference.remarks == (
        "line 4 of B points at line 3 as the other copy has it: B was changed",
    )


def test_two_branches_point_at_the_same_line(compared: Callable[[bytes, bytes], LogComparison]) -> None:
    other = forge.usual()
    other.lines = other.lines[:7]
    other.event("note.added", {"sha256": forge.SHA})
    other.event("note.added", {"sha256": forge.SHA})
    found = compared(b"".join(LINES), other.text)
    assert (found.relation, found.common) == ("forked", 7)
    assert found.difference is not None
    assert found.difference.remarks == ()
    assert {"type", "phase", "op"} <= {item.field for item in found.difference.fields}


def test_long_values_that_differ_do_not_look_alike(
    compared: Callable[[bytes, bytes], LogComparison],
) -> None:
    record = forge.parse(LINES[0])
    texts = [forge.encode(record | {"reason": "x" * 400 + end}) for end in "ab"]
    found = compared(texts[0], texts[1])
    assert found.difference is not None
    (item,) = found.difference.fields
    assert item.field == "reason"
    assert item.a != item.b


def test_different_logs(compared: Callable[[bytes, bytes], LogComparison]) -> None:
    found = compared(b"".join(LINES), forge.usual(2).text)
    assert (found.relation, found.exit_code, found.common) == ("other-log", 1, 0)


def spaced(text: bytes) -> bytes:
    return text.replace(b'":', b'": ', 1)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("CRLF", lambda text: text.replace(b"\n", b"\r\n"), "ends in CR LF"),
        ("BOM", lambda text: b"\xef\xbb\xbf" + text, "begins with a byte order mark"),
        ("blanks", lambda text: text.replace(b"\n", b" \t\n"), "has blanks at its end"),
        ("spacing", spaced, "is not in the one encoding"),
    ],
)
def test_copies_that_the_way_changed(
    compared: Callable[[bytes, bytes], LogComparison],
    name: str,
    change: Callable[[bytes], bytes],
    said: str,
) -> None:
    found = compared(b"".join(LINES), change(b"".join(LINES)))
    assert (found.relation, found.exit_code) == ("forked", 1), name
    assert found.difference is not None
    assert found.difference.fields == ()
    remarks = "\n".join(found.difference.remarks)
    assert f"line 1 of B {said}" in remarks
    assert "the same in other bytes" in remarks


def test_an_added_line_is_no_beginning_of_garbage(compared: Callable[[bytes, bytes], LogComparison]) -> None:
    found = compared(b"".join(LINES[:3]) + b"\0" * 40, b"".join(LINES))
    assert (found.relation, found.common) == ("forked", 3)
    assert found.difference is not None
    assert "line 4 of A is cut off" in found.difference.remarks


def test_a_line_beyond_every_limit_is_compared_to_its_end(
    compared: Callable[[bytes, bytes], LogComparison],
) -> None:
    a, b = b"x" * 300_000 + b"1\n", b"x" * 300_000 + b"2\n"
    found = compared(LINES[0] + a, LINES[0] + b)
    assert (found.relation, found.common, found.a.lines) == ("forked", 1, 2)
    assert compared(LINES[0] + a, LINES[0] + a).relation == "same"
    assert compared(LINES[0] + a[:-1], LINES[0] + a[:-1]).a.rest == 300_001


def test_a_compressed_copy_is_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"".join(LINES))
    (tmp_path / "b").write_bytes(gzip.compress(b"".join(LINES)))
    with pytest.raises(CustodyError, match="compressed") as caught:
        compare_logs(tmp_path / "a", tmp_path / "b")
    assert caught.value.hint == "unpack it first"


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"".join(LINES))
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "nothing"):
        with pytest.raises(CustodyError, match=f"{tmp_path}/{name}"):
            compare_logs(tmp_path / "a", tmp_path / name)
    (tmp_path / "empty").write_bytes(b"")
    assert compare_logs(tmp_path / "a", tmp_path / "empty").shorter == "b"
