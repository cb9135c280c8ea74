"""What is said to have been checked was checked: of an E01, what tells that its segments are of one acquisition."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.examination.completeness import completeness
from tests.containers.ewf_writer import Recipe, write_ewf
from tests.containers.sets import media

if TYPE_CHECKING:
    from pathlib import Path

THREE = Recipe(chunks_per_segment=1, sectors_per_chunk=8)


def checked(folder: Path, recipe: Recipe, chunks: int = 3) -> list[str]:
    with open_image(write_ewf(folder, media(chunks * 4096), recipe).paths[-1]) as image:
        found: list[str] = completeness(image)["checked"]
    assert found[0] == "segment numbers from 1 to the one that ends the set"
    return [text for text in found if "identifier" in text]


def test_an_identifier_is_called_one_where_every_segment_states_it(tmp_path: Path) -> None:
    assert checked(tmp_path, THREE) == ["one set identifier in every segment"]


@pytest.mark.parametrize(
    "recipe",
    [replace(THREE, set_identifier=bytes(16)), replace(THREE, flavour="smart")],
    ids=["none", "smart"],
)
def test_where_no_identifier_is_stated_none_is_called_checked(tmp_path: Path, recipe: Recipe) -> None:
    (said,) = checked(tmp_path, recipe)
    assert said.startswith("no set identifier is stated")


def test_a_segment_that_states_no_identifier_is_counted(tmp_path: Path) -> None:
    layout = write_ewf(tmp_path, media(3 * 4096), THREE)
    section = layout.find("data", segment=2)
    data = bytearray(layout.paths[2].read_bytes())
    data[section.payload] ^= 1  # it fails its Adler-32: nothing of it counts
    layout.paths[2].write_bytes(data)
    with open_image(layout.paths[0]) as image:
        assert (
            completeness(image)["checked"][2] == "one set identifier in 2 of 3 segments, none in the others"
        )


def test_of_a_single_segment_nothing_of_others_is_said(tmp_path: Path) -> None:
    assert checked(tmp_path, THREE, chunks=1) == []


@pytest.mark.parametrize(
    ("suffixes", "open_ends"),
    [
        (("000", "001", "002"), "whether parts after"),
        (("001", "002", "003"), "whether a part numbered 0 before the first or parts after"),
        (("aa", "ab", "ac"), "whether parts after"),
    ],
)
def test_what_the_numbers_of_split_raw_leave_open(
    tmp_path: Path, suffixes: tuple[str, ...], open_ends: str
) -> None:
    for suffix in suffixes:
        (tmp_path / f"disk.{suffix}").write_bytes(media(1000))
    with open_image(tmp_path / f"disk.{suffixes[1]}") as image:
        found = completeness(image)["checked"]
    assert found == [
        "numbered without a gap, of one size but the last",
        f"{open_ends} the last are missing cannot be told",
    ]
