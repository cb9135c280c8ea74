from __future__ import annotations

import contextlib
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.containers.ewf.names import segment_paths, segment_suffix
from imgkit.errors import MissingSegment, NotPermitted
from tests.containers.ewf_writer import suffixes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def make(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).touch()


def found(path: Path) -> list[str]:
    return [os.path.basename(item) for item in segment_paths(os.fspath(path)).paths]


def test_numbers_every_segment_as_the_specification_says() -> None:
    expected = list(suffixes("encase"))
    assert [segment_suffix(number) for number in range(1, len(expected) + 1)] == expected
    assert expected[98:100] == ["E99", "EAA"]
    assert expected[99 + 26 * 26] == "FAA"
    assert expected[-1] == "ZZZ"
    assert segment_suffix(len(expected) + 1) is None
    lower = list(suffixes("smart"))
    assert [segment_suffix(number, "s01") for number in range(1, len(lower) + 1)] == lower


@pytest.mark.parametrize("opened", ["disk.E01", "disk.E02", "disk.E03"])
def test_any_segment_finds_all_of_them_in_order(tmp_path: Path, opened: str) -> None:
    make(tmp_path, "disk.E02", "disk.E01", "disk.E03", "disk.E01.txt", "other.E04", "disk2.E04", "disk")
    assert found(tmp_path / opened) == ["disk.E01", "disk.E02", "disk.E03"]
    assert segment_paths(os.fspath(tmp_path / opened)).notices == ()


@pytest.mark.parametrize(("flavour", "upper"), [("encase", True), ("encase", False), ("smart", False)])
def test_counts_past_99_and_past_the_first_letter(tmp_path: Path, flavour: str, upper: bool) -> None:
    names = [f"disk.{text}" for text, _ in zip(suffixes(flavour, upper=upper), range(900), strict=False)]  # type: ignore[arg-type]
    make(tmp_path, *reversed(names))
    for opened in (0, 1, 98, 99, 120, 775, 899):
        assert found(tmp_path / names[opened]) == names


def test_counts_to_the_last_name_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"d.{text}" for text in suffixes("encase")]
    entries = contextlib.nullcontext([SimpleNamespace(name=name) for name in reversed(names)])
    monkeypatch.setattr(os, "scandir", lambda _path: entries)
    assert found(tmp_path / "d.ZZZ") == names


@pytest.mark.parametrize(
    ("there", "opened", "missing"),
    [
        (["d.E01", "d.E02", "d.E04"], "d.E01", "d.E03"),
        (["d.E01", "d.E02", "d.E04"], "d.E04", "d.E03"),
        (["d.E02", "d.E03"], "d.E02", "d.E01"),
        (["d.e02"], "d.e02", "d.e01"),
        (["d.s01", "d.s03"], "d.s01", "d.s02"),
        (["d.E01", "d.EAB"], "d.EAB", "d.E02"),
        (["d.EAB"], "d.EAB", "d.E01"),
        (["d.FAA", "d.FAB"], "d.FAB", "d.E01"),
        ([*(f"d.E{n:02d}" for n in range(1, 99)), "d.EAA"], "d.E01", "d.E99"),
        ([*(f"d.E{n:02d}" for n in range(1, 100)), "d.EAB"], "d.E01", "d.EAA"),
        ([*(f"d.e{n:02d}" for n in range(1, 100)), "d.eaa", "d.eac"], "d.e01", "d.eab"),
    ],
)
def test_a_hole_names_the_first_segment_that_is_missing(
    tmp_path: Path, there: list[str], opened: str, missing: str
) -> None:
    make(tmp_path, *there)
    with pytest.raises(MissingSegment, match=f"segment {tmp_path / missing} is not there"):
        segment_paths(os.fspath(tmp_path / opened))


def test_other_files_with_three_letters_are_no_segments(tmp_path: Path) -> None:
    make(tmp_path, "d.E01", "d.E02", "d.txt", "d.LOG", "d.EXE", "d.img", "d.md5", "d.xml")
    assert found(tmp_path / "d.E01") == ["d.E01", "d.E02"]


@pytest.mark.parametrize(
    "name", ["evidence.bin", "evidence", "evidence.E00", "evidence.E1", "e.E001", ".E01x", "d.IMG"]
)
def test_a_name_that_does_not_say_is_one_segment(tmp_path: Path, name: str) -> None:
    make(tmp_path, name, "other.E01")
    assert found(tmp_path / name) == [name]


def test_a_lone_later_name_says_so(tmp_path: Path) -> None:
    make(tmp_path, "disk.IMG")
    assert "could be that of a later segment" in segment_paths(os.fspath(tmp_path / "disk.IMG")).notices[0]


@pytest.mark.parametrize("opened", ["d.E01", "d.e01", "d.E02", "d.e02"])
def test_two_sets_that_differ_in_case_are_told_apart_by_the_name_opened(tmp_path: Path, opened: str) -> None:
    make(tmp_path, "d.E01", "d.E02", "d.e01", "d.e02")
    answer = segment_paths(os.fspath(tmp_path / opened))
    letter = opened[2]
    assert [os.path.basename(path) for path in answer.paths] == [f"d.{letter}01", f"d.{letter}02"]
    assert len(answer.notices) == 2
    assert "differs in case only" in answer.notices[0]


def test_a_set_in_mixed_case_is_one_set(tmp_path: Path) -> None:
    make(tmp_path, "DISK.E01", "disk.e02", "Disk.E03")
    answer = segment_paths(os.fspath(tmp_path / "disk.e02"))
    assert [os.path.basename(path) for path in answer.paths] == ["DISK.E01", "disk.e02", "Disk.E03"]
    assert "names that differ in case" in answer.notices[-1]


def test_smart_and_encase_names_side_by_side_are_two_sets(tmp_path: Path) -> None:
    make(tmp_path, "d.E01", "d.E02", "d.s01", "d.s02", "d.s03")
    assert found(tmp_path / "d.E02") == ["d.E01", "d.E02"]
    assert found(tmp_path / "d.s02") == ["d.s01", "d.s02", "d.s03"]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    names = [b"caf\xe9 \xff\n.E%02d" % number for number in (1, 2, 3)]
    for name in names:
        with open(os.path.join(folder, name), "wb"):
            pass
    answer = segment_paths(os.fsdecode(os.path.join(folder, names[1])))
    assert [os.path.basename(os.fsencode(path)) for path in answer.paths] == names


def test_a_long_s_is_no_s(tmp_path: Path) -> None:
    make(tmp_path, "d.s01", "d.\u017f02")
    assert found(tmp_path / "d.s01") == ["d.s01"]


def test_a_symlink_counts_as_its_name_then_as_where_it_leads(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    make(store, "1.E01", "1.E02")
    (tmp_path / "evidence").symlink_to(store / "1.E02")
    assert found(tmp_path / "evidence") == ["1.E01", "1.E02"]
    (tmp_path / "x.E01").symlink_to(store / "1.E01")
    (tmp_path / "x.E02").symlink_to(store / "1.E02")
    assert found(tmp_path / "x.E02") == ["x.E01", "x.E02"]
    (tmp_path / "y.E02").symlink_to(store / "1.E02")
    assert found(tmp_path / "y.E02") == ["1.E01", "1.E02"]
    (tmp_path / "far").symlink_to("near")
    (tmp_path / "near").symlink_to("store/1.E02")
    assert found(tmp_path / "far") == ["1.E01", "1.E02"]


def test_a_symlink_to_a_segment_that_is_a_symlink_itself(tmp_path: Path) -> None:
    """A folder whose files lie in a store under other names, as git-annex has them, linked to from elsewhere."""
    (tmp_path / "set").mkdir()
    make(tmp_path, "k1", "k2")
    for number in (1, 2):
        (tmp_path / f"set/d.E0{number}").symlink_to(f"../k{number}")
    (tmp_path / "folder").symlink_to("set")
    (tmp_path / "evidence").symlink_to("folder/d.E02")
    assert found(tmp_path / "evidence") == ["d.E01", "d.E02"]
    (tmp_path / "set/d.E01").unlink()
    with pytest.raises(MissingSegment, match=r"d\.E01 is not there"):
        segment_paths(os.fspath(tmp_path / "evidence"))


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "d.E01")

    def refuse(_path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(NotPermitted, match="cannot list"):
        segment_paths(os.fspath(tmp_path / "d.E01"))


def test_one_listing_and_no_stat_of_each_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"d.{text}" for text, _ in zip(suffixes("encase"), range(500), strict=False)]
    make(tmp_path, *names)
    looks: list[str] = []
    real: dict[str, Callable[..., object]] = {"scandir": os.scandir, "stat": os.stat}

    def counted(what: str) -> Callable[..., object]:
        def look(*args: Any, **options: Any) -> object:
            looks.append(what)
            return real[what](*args, **options)

        return look

    for what in real:
        monkeypatch.setattr(os, what, counted(what))
    paths = segment_paths(os.fspath(tmp_path / "d.E07")).paths
    monkeypatch.undo()
    assert len(paths) == 500
    assert looks == ["scandir"]
