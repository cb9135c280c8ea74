"""Bags: whole or not there at all, checked by stock tools, and no bag that was touched passes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgkit.custody.bag import (
    Payload,
    decoded,
    encoded,
    info_lines,
    left_over,
    manifest_lines,
    safe_name,
    write_bag,
)
from imgkit.custody.bag_check import check_bag
from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.custody.conftest import Traced

CONTENT = {
    "case/custody.jsonl": b"{}\n",
    "case/verify.sh": b"#!/bin/sh\n",
    "images/EX1/disk.dd": bytes(70_000),
}


def payload(folder: Path, content: dict[str, bytes] = CONTENT) -> list[Payload]:
    found = []
    for number, (name, data) in enumerate(content.items()):
        source = folder / f"source-{number}"
        source.write_bytes(data)
        found.append(Payload(name, lambda path=source: os.open(path, os.O_RDONLY)))  # type: ignore[misc]
    return found


def make(folder: Path, name: str = "bag") -> Path:
    path = folder / name
    write_bag(
        str(path), payload(folder), info=[("Contact-Name", "Jane\nDoe")], tags={"receipt.txt": b"receipt\n"}
    )
    return path


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return make(tmp_path)


def sha256sum(bag: Path, manifest: str) -> int:
    return subprocess.run(
        ["sha256sum", "--strict", "--quiet", "-c", manifest], cwd=bag, capture_output=True, check=False
    ).returncode


def test_stock_tools_and_imgkit_agree_that_it_is_whole(bag: Path) -> None:
    assert sha256sum(bag, "manifest-sha256.txt") == 0
    assert sha256sum(bag, "tagmanifest-sha256.txt") == 0
    checked = check_bag(str(bag))
    assert checked.problems == ()
    assert checked.files == tuple(sorted(CONTENT))
    assert (bag / "bagit.txt").read_text() == "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    assert "Payload-Oxum: 70013.3\n" in (bag / "bag-info.txt").read_text()
    assert "Contact-Name: Jane\\nDoe\n" in (bag / "bag-info.txt").read_text()
    for name, data in CONTENT.items():
        assert (bag / "data" / name).read_bytes() == data


def edit(bag: Path) -> None:
    (bag / "data/images/EX1/disk.dd").write_bytes(b"\1" + bytes(69_999))


def remove(bag: Path) -> None:
    (bag / "data/case/verify.sh").unlink()


def edit_with_its_manifest(bag: Path) -> None:
    edit(bag)
    shutil.copy(bag / "manifest-sha256.txt", bag.parent / "kept")
    import hashlib

    names = {
        f"data/{name}": hashlib.sha256((bag / "data" / name).read_bytes()).hexdigest() for name in CONTENT
    }
    (bag / "manifest-sha256.txt").write_bytes(manifest_lines(names))


def edit_a_tag(bag: Path) -> None:
    (bag / "receipt.txt").write_text("another\n")


@pytest.mark.parametrize("tamper", [edit, remove, edit_with_its_manifest, edit_a_tag])
def test_what_stock_tools_find_imgkit_finds(bag: Path, tamper: Callable[[Path], None]) -> None:
    tamper(bag)
    assert sha256sum(bag, "manifest-sha256.txt") or sha256sum(bag, "tagmanifest-sha256.txt")
    assert check_bag(str(bag)).problems


def add(bag: Path) -> None:
    (bag / "data/case/more\n.txt").write_text("x")


def link(bag: Path) -> None:
    (bag / "data/case/verify.sh").unlink()
    (bag / "data/case/verify.sh").symlink_to(bag.parent / "source-1")


def link_a_folder(bag: Path) -> None:
    shutil.move(bag / "data/case", bag.parent / "moved")
    (bag / "data/case").symlink_to(bag.parent / "moved")


def fifo(bag: Path) -> None:
    os.mkfifo(bag / "data/pipe")


def climb(bag: Path) -> None:
    digest = "0" * 64
    with (bag / "manifest-sha256.txt").open("a") as file:
        file.write(f"{digest}  data/../../source-1\n")


def forget_the_manifest(bag: Path) -> None:
    lines = (bag / "tagmanifest-sha256.txt").read_text().splitlines(keepends=True)
    (bag / "tagmanifest-sha256.txt").write_text("".join(one for one in lines if "  manifest-" not in one))


@pytest.mark.parametrize("tamper", [add, link, link_a_folder, fifo, climb, forget_the_manifest])
def test_what_stock_tools_do_not_look_at(bag: Path, tamper: Callable[[Path], None]) -> None:
    tamper(bag)
    problems = check_bag(str(bag)).problems
    assert problems
    assert all(text.isprintable() for text in problems)


@pytest.mark.parametrize("declaration", [b"", b"BagIt-Version: 2.0\nTag-File-Character-Encoding: UTF-8\n"])
def test_another_format_is_no_bag(bag: Path, declaration: bytes) -> None:
    (bag / "bagit.txt").write_bytes(declaration)
    with pytest.raises(CustodyError, match="no bag"):
        check_bag(str(bag))


def test_a_folder_is_no_bag(tmp_path: Path) -> None:
    with pytest.raises(CustodyError, match="no bag"):
        check_bag(str(tmp_path))


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "bag.tar").write_bytes(b"x")
    with pytest.raises(CustodyError, match="is a file, and a bag is a folder") as caught:
        check_bag(str(tmp_path / "bag.tar"))
    assert "unpack" in str(caught.value.hint)


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    with pytest.raises(CustodyError, match="there already"):
        make(tmp_path)
    assert list((tmp_path / "bag").iterdir()) == []


def test_a_source_that_is_shorter_than_said_makes_no_bag(tmp_path: Path) -> None:
    (item, *_rest) = payload(tmp_path)
    with pytest.raises(CustodyError, match="ends after 3 of 10 bytes"):
        write_bag(str(tmp_path / "bag"), [Payload("a", item.open, 10)], info=[], tags={})
    assert [path.name for path in tmp_path.iterdir() if "bag" in path.name] == []


def test_only_so_many_bytes(tmp_path: Path) -> None:
    (item, *_rest) = payload(tmp_path)
    write_bag(str(tmp_path / "bag"), [Payload("a", item.open, 2)], info=[], tags={})
    assert (tmp_path / "bag/data/a").read_bytes() == b"{}"


@given(st.text(max_size=20))
def test_names_in_manifests_come_back(name: str) -> None:
    assert decoded(encoded(name)) == name
    assert not {"\n", "\r"} & set(encoded(name))


@given(st.binary(min_size=1, max_size=30))
def test_names_that_are_given_need_no_codes(raw: bytes) -> None:
    name = safe_name(os.fsdecode(raw))
    assert encoded(name) == name
    assert name.isprintable()
    assert "/" not in name
    assert name not in {"", ".", ".."}


@pytest.mark.parametrize("name", ['c:disk "1"?.dd', "trail. ", "a<b>|*.dd", "...", " "])
def test_names_that_are_given_fit_on_a_memory_stick(name: str) -> None:
    assert not set(safe_name(name)) & set('<>:"|?*\\/')
    assert not safe_name(name).endswith((".", " "))


def test_a_name_that_ends_with_a_blank_is_no_missing_file(tmp_path: Path) -> None:
    """Such as sha256sum writes it: in a bag that somebody else made."""
    (item, *_rest) = payload(tmp_path)
    write_bag(str(tmp_path / "bag"), [Payload("disk.dd ", item.open)], info=[], tags={})
    assert sha256sum(tmp_path / "bag", "manifest-sha256.txt") == 0
    assert check_bag(str(tmp_path / "bag")).problems == ()


def test_what_a_killed_run_left_is_known_by_its_name(tmp_path: Path) -> None:
    (tmp_path / ".bag.0c35c38e-bfe5-44fb-84c5-5464a734ff92.tmp").mkdir()
    (tmp_path / ".bag.notes.tmp").mkdir()
    assert [os.path.basename(one)[:9] for one in left_over(str(tmp_path / "bag"))] == [".bag.0c35"]


def test_a_long_name_of_a_bag_has_room_for_its_ending(tmp_path: Path) -> None:
    (item, *_rest) = payload(tmp_path)
    name = "\U0001f4bd" * 60  # 240 bytes
    write_bag(str(tmp_path / name), [Payload("a", item.open)], info=[], tags={})
    assert check_bag(str(tmp_path / name)).problems == ()


def test_information_stays_on_its_line() -> None:
    assert info_lines([("A", "x\ny: z\x1b[1m\u202e")]).count(b"\n") == 1


def test_full_or_broken_disks_and_kills_leave_no_half_bag(
    tmp_path: Path, tracer: Callable[..., Traced]
) -> None:
    """Every call that writes, syncs or names: the bag is there and whole, or not there."""
    sources = payload(tmp_path)
    target = tmp_path / "made"

    def act() -> int:
        try:
            write_bag(str(target), sources, info=[], tags={"receipt.txt": b"receipt\n"})
        except CustodyError:
            return 3
        return 0

    calls = "write,fsync,renameat2,mkdir,openat"
    run = tracer(act, calls=calls)
    assert run.code == 0
    shutil.rmtree(target)
    counts = Counter(line.split(None, 1)[1].partition("(")[0] for line in run.calls)
    for fault, call in (
        ("error=ENOSPC", "write"),
        ("retval=1", "write"),
        ("error=EIO", "fsync"),
        ("error=ENOSPC", "mkdir"),
        ("signal=KILL", "write"),
        ("signal=KILL", "fsync"),
        ("signal=KILL", "renameat2"),
    ):
        for number in range(1, counts[call] + 1):
            run = tracer(act, inject=f"{call}:{fault}:when={number}", calls=calls)
            # A folder that is there already is asked for once more, and its answer does not matter.
            assert run.code == (-9 if "KILL" in fault else 3) or (call, run.code) == ("mkdir", 0)
            assert target.exists() == (run.code == 0) or "KILL" in fault
            assert not target.exists() or check_bag(str(target)).problems == ()
            shutil.rmtree(target, ignore_errors=True)
            left = list(tmp_path.glob(".made.*"))
            assert left == [] or "KILL" in fault
            for path in left:
                shutil.rmtree(path)
