"""Each fault of faults.py ends in an error that says where, or in the right bytes and a notice: never in wrong bytes."""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.errors import CorruptImage, CorruptMedia, MediaReadError, MissingSegment
from imgkit.hashing import hash_range
from tests.containers.ewf import breaking as br
from tests.containers.ewf.breaking import CHUNK, MEDIA, PER_SEGMENT, RECIPE, SEGMENTS, flip
from tests.containers.ewf.faults import FAULTS, Lost, Refused, Told
from tests.containers.ewf_writer import write_ewf
from tests.containers.oracle import bad_ranges, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from imgkit.image import Image
    from tests.containers.ewf_writer import Flavour, Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    folder = tmp_path / "set"
    folder.mkdir()
    return write_ewf(folder, MEDIA, RECIPE)


def ranges_of(chunks: Iterable[int]) -> list[tuple[int, int]]:
    return merged((number * CHUNK, min(CHUNK, len(MEDIA) - number * CHUNK)) for number in chunks)


def told(image: Image) -> str:
    """All that `info` would say of it."""
    notices = image.metadata.get("notices", ())
    assert isinstance(notices, tuple)
    return "\n".join([*notices, *image.anomalies])


def names(*kinds: type) -> list[str]:
    return [name for name, (_, outcome) in FAULTS.items() if isinstance(outcome, kinds)]


def opened(layout: Layout) -> str:
    return os.fspath(next(path for path in layout.paths if path.exists()))


def test_without_a_fault_all_is_there_and_nothing_is_told(layout: Layout) -> None:
    with open_image(layout.paths[3]) as image:
        assert bad_ranges(image, MEDIA) == []
        assert told(image) == ""


@pytest.mark.parametrize("name", names(Refused))
def test_a_set_that_contradicts_itself_is_refused(layout: Layout, name: str) -> None:
    fault, outcome = FAULTS[name]
    assert isinstance(outcome, Refused)
    fault(layout)
    with pytest.raises(outcome.kind) as raised:
        open_image(opened(layout))
    assert not isinstance(raised.value, MediaReadError)
    assert outcome.text in raised.value.message
    if outcome.segment is not None:
        assert os.fspath(layout.paths[outcome.segment]) in raised.value.message


@pytest.mark.parametrize(
    ("sectors", "hint"),
    [(59 * 16, "it holds more than it states"), (61 * 16, "incomplete or was not finished")],
)
def test_too_many_chunks_are_not_called_too_few(layout: Layout, sectors: int, hint: str) -> None:
    br.volume(60, sectors)(layout)
    with pytest.raises(CorruptImage) as raised:
        open_image(opened(layout))
    assert f"have 60 chunks, its media of {sectors} sectors needs" in raised.value.message
    assert hint in str(raised.value.hint)


@pytest.mark.parametrize("name", names(Lost))
def test_chunks_that_fail_are_named_and_all_others_served(layout: Layout, name: str) -> None:
    fault, outcome = FAULTS[name]
    assert isinstance(outcome, Lost)
    fault(layout)
    with open_image(opened(layout)) as image:
        assert bad_ranges(image, MEDIA) == ranges_of(outcome.chunks)
        with pytest.raises(CorruptMedia) as raised:
            image.read_at(0, image.size)
    for number in outcome.chunks:
        path = os.fspath(layout.paths[layout.chunks[number].segment])
        assert any(path in reason for _, _, reason in raised.value.ranges)


@pytest.mark.parametrize("name", names(Told))
def test_what_takes_no_byte_away_is_told(layout: Layout, name: str) -> None:
    fault, outcome = FAULTS[name]
    assert isinstance(outcome, Told)
    fault(layout)
    with open_image(opened(layout)) as image:
        assert bad_ranges(image, MEDIA) == []
        assert outcome.text in told(image)


@pytest.mark.parametrize("name", names(Lost, Told))
def test_hashing_goes_on_and_lists_just_what_is_lost(layout: Layout, name: str) -> None:
    fault, outcome = FAULTS[name]
    fault(layout)
    lost = outcome.chunks if isinstance(outcome, Lost) else ()
    with open_image(opened(layout)) as image:
        found = hash_range(image, 0, image.size, algorithms=("md5", "sha1"), zero_fill=True)
        stated = {str(digest) for digest in image.stored_digests}
    assert list(found.read_errors) == ranges_of(lost)
    assert bool(found.digests) == (not lost)
    assert all(reason for _, _, reason in found.reasons)
    if not lost:
        assert stated <= {str(digest) for digest in found.digests}


def test_a_damaged_hash_is_not_taken_for_a_stored_digest(layout: Layout) -> None:
    FAULTS["hash"][0](layout)
    FAULTS["digest"][0](layout)
    with open_image(opened(layout)) as image:
        assert image.stored_digests == ()
        assert "hash section" in told(image)
        assert "digest section" in told(image)


@pytest.mark.parametrize("seen", [True, False])
def test_a_segment_that_shrinks_while_open_is_an_error_not_zeros(layout: Layout, seen: bool) -> None:
    with open_image(opened(layout)) as image:
        if seen:
            assert image.read_at(0, 30 * CHUNK) == MEDIA[: 30 * CHUNK]
        os.truncate(layout.paths[2], layout.chunks[25].offset)
        bad = dict(filter(None, map(partial(unserved, image), range(60))))
    assert bad.keys() <= set(range(20, 30))  # what is still in memory may be served
    assert all(os.fspath(layout.paths[2]) in message for message in bad.values())
    assert seen or bad.keys() >= set(range(25, 30))


def unserved(image: Image, number: int) -> tuple[int, str] | None:
    """The chunk and why it is not served; what is served has to be right."""
    try:
        served = image.read_at(number * CHUNK, CHUNK)
    except MediaReadError as error:
        return number, error.message
    assert served == MEDIA[number * CHUNK : number * CHUNK + CHUNK]
    return None


def test_another_file_at_the_name_of_a_segment_is_an_error(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgkit.containers.segment_files._MOST_OPEN", 1)
    with open_image(opened(layout)) as image:
        copy = tmp_path / "copy"
        shutil.copyfile(layout.paths[2], copy)
        os.replace(copy, layout.paths[2])
        assert image.read_at(0, CHUNK) == MEDIA[:CHUNK]
        assert bad_ranges(image, MEDIA) == ranges_of(range(20, 30))


def test_another_set_s_segment_under_the_same_inode_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inode numbers are given out again: chunks that are stored as they are would fit, each with a right checksum."""
    monkeypatch.setattr("imgkit.containers.segment_files._MOST_OPEN", 1)
    recipe = replace(RECIPE, store=("stored",))
    layout = write_ewf(tmp_path, MEDIA, recipe)
    other = write_ewf(tmp_path, MEDIA[::-1], recipe, stem="other")
    with open_image(layout.paths[0]) as image:
        assert image.read_at(20 * CHUNK, CHUNK) == MEDIA[20 * CHUNK : 21 * CHUNK]
        assert image.read_at(0, CHUNK) == MEDIA[:CHUNK]
        layout.paths[2].write_bytes(other.paths[2].read_bytes())
        with pytest.raises(MediaReadError, match=r"E03 was changed or replaced since the image was opened"):
            image.read_at(25 * CHUNK, CHUNK)


def test_a_chunk_that_changes_while_open_is_an_error_or_served_from_memory(layout: Layout) -> None:
    with open_image(opened(layout)) as image:
        assert image.read_at(20 * CHUNK, CHUNK) == MEDIA[20 * CHUNK : 21 * CHUNK]
        flip(layout, 2, layout.chunks[22].offset + 20)
        flip(layout, 3, layout.chunks[35].offset + 20)
        bad = dict(filter(None, map(partial(unserved, image), range(60))))
    assert bad.keys() <= {22, 35}
    with open_image(opened(layout)) as image:
        assert bad_ranges(image, MEDIA) == ranges_of([22, 35])


def test_a_table_that_changes_while_open_is_an_error(layout: Layout) -> None:
    with open_image(opened(layout)) as image:
        FAULTS["table and table2"][0](layout)
        assert bad_ranges(image, MEDIA) == ranges_of(range(20, 26))


def test_eight_threads_at_once_get_the_same_answers(layout: Layout) -> None:
    for name in ("three chunks", "table and table2 sound and different"):
        FAULTS[name][0](layout)
    lost = ranges_of([1, 21, 22, 59])
    with open_image(opened(layout)) as image, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: bad_ranges(image, MEDIA, seed=seed), range(16)))
        assert answers == [lost] * 16


@pytest.mark.parametrize("number", range(SEGMENTS))
def test_whichever_segment_is_gone_is_named(layout: Layout, number: int) -> None:
    layout.paths[number].unlink()
    with pytest.raises(MissingSegment, match=f"E{number + 1:02d}|segment {number + 1}"):
        open_image(opened(layout))


def test_a_set_cut_short_at_any_place_is_refused(layout: Layout) -> None:
    """At every descriptor and a byte beside it, and within; in the middle and in the last segment."""
    for segment in (2, SEGMENTS - 1):
        whole = layout.paths[segment].read_bytes()
        places = {section.offset + step for section in layout.sections for step in (-1, 0, 1, 40, 76)}
        for place in sorted(place for place in places if place < len(whole)):
            layout.paths[segment].write_bytes(whole[:place])
            with pytest.raises(MissingSegment, match=re.escape(os.fspath(layout.paths[segment]))):
                open_image(layout.paths[0])
        layout.paths[segment].write_bytes(whole)
    with open_image(layout.paths[0]) as image:
        assert bad_ranges(image, MEDIA) == []


@pytest.mark.parametrize("flavour", ["smart", "encase1"])
def test_a_table_without_a_copy_takes_its_chunks_away(tmp_path: Path, flavour: Flavour) -> None:
    """SMART has no checksum over its entries: what one that is off says is caught by the order and by the chunk itself."""
    recipe = replace(RECIPE, flavour=flavour, header2=None, stored_sha1=False, chunks_per_table=PER_SEGMENT)
    layout = write_ewf(tmp_path, MEDIA, recipe)
    whole = layout.paths[2].read_bytes()
    for chunk in layout.chunks_of(2):
        for bit in (0, 5, 10, 14, 31):
            flip(layout, 2, chunk.entry + bit // 8, 1 << bit % 8)
            with open_image(layout.paths[0]) as image:
                lost = bad_ranges(image, MEDIA)
            assert lost
            assert merged([*lost, (20 * CHUNK, 10 * CHUNK)]) == [(20 * CHUNK, 10 * CHUNK)]
            layout.paths[2].write_bytes(whole)


def test_a_name_that_does_not_say_is_completed_by_no_other_file(layout: Layout, tmp_path: Path) -> None:
    first, second = tmp_path / "evidence.bin", tmp_path / "second.bin"
    shutil.copyfile(layout.paths[0], first)
    shutil.copyfile(layout.paths[1], second)
    with pytest.raises(MissingSegment, match="says that segment 2 follows"):
        open_image(first)
    with pytest.raises(MissingSegment, match="is segment 2 of a set"):
        open_image(second)
    whole = write_ewf(tmp_path, MEDIA, replace(RECIPE, chunks_per_segment=100), stem="whole")
    whole.paths[0].rename(tmp_path / "whole.bin")
    with open_image(tmp_path / "whole.bin") as image:
        assert bad_ranges(image, MEDIA) == []


def test_a_chunk_that_fails_is_named_with_its_place_in_the_file(layout: Layout) -> None:
    flip(layout, 2, layout.chunks[22].offset + 30)
    with open_image(layout.paths[0]) as image, pytest.raises(CorruptMedia) as raised:
        image.read_at(22 * CHUNK, CHUNK)
    place = f"(media {22 * CHUNK} to {23 * CHUNK}, file from {layout.chunks[22].offset})"
    assert (
        f"chunk 22 of segment {layout.paths[2]} {place}: its compressed data is damaged"
        in raised.value.message
    )


def test_a_set_that_no_name_tells_of_is_not_called_a_mixture(layout: Layout, tmp_path: Path) -> None:
    for segment, said in ((1, "is segment 2 of a set"), (0, "says that segment 2 follows")):
        lone = tmp_path / f"lone{segment}.bin"
        shutil.copyfile(layout.paths[segment], lone)
        with pytest.raises(MissingSegment, match=said) as raised:
            open_image(lone)
        assert "by the names they had" in str(raised.value.hint)


@pytest.mark.parametrize("kind", [os.mkdir, os.mkfifo])
def test_a_folder_or_fifo_at_the_name_of_a_segment_is_none(
    layout: Layout, kind: Callable[[Path], None]
) -> None:
    layout.paths[2].unlink()
    kind(layout.paths[2])
    with pytest.raises(MissingSegment, match="stands where a segment should be and is no regular file"):
        open_image(layout.paths[0])


def test_a_symlink_that_leads_nowhere_is_a_segment_that_is_missing(layout: Layout) -> None:
    layout.paths[2].unlink()
    layout.paths[2].symlink_to("nowhere")
    with pytest.raises(MissingSegment, match=r"disk\.E03 is there as a name only"):
        open_image(layout.paths[0])


def test_an_acquisition_that_was_not_finished_is_called_that(layout: Layout) -> None:
    """Where ewfacquire was killed it leaves zeros for the descriptor of the sectors section, and chunks behind it."""
    section = layout.find("sectors", segment=5)
    br.put(layout, 5, section.offset, bytes(section.payload - section.offset))
    os.truncate(layout.paths[5], section.end - 4000)
    with pytest.raises(CorruptImage, match=f"zeros stand at {section.offset} of {layout.paths[5]}") as raised:
        open_image(layout.paths[0])
    assert "was not finished" in str(raised.value.hint)


def test_identifiers_that_differ_are_written_as_info_writes_them(layout: Layout) -> None:
    br.swapped_with_other_set(layout)
    with pytest.raises(MissingSegment, match=r"that of .* is 03020100-0504-0706-0809-0a0b0c0d0e0f"):
        open_image(layout.paths[0])


def test_what_states_the_sector_size_is_named(layout: Layout) -> None:
    flip(layout, 0, layout.find("volume").payload)
    with open_image(layout.paths[0]) as image:
        assert image.sector_size_source == "the data section"


def test_a_later_segment_whose_start_is_destroyed_is_not_silently_raw(layout: Layout) -> None:
    with layout.paths[1].open("r+b") as file:
        file.write(bytes(4096))
    with open_image(layout.paths[1]) as image:
        assert image.format == "raw"
        assert "its content is no e02" in str(image.metadata["notices"])


def test_a_set_whose_names_go_on_after_its_end_is_refused(layout: Layout) -> None:
    extra = layout.paths[-1].with_suffix(".E07")
    shutil.copyfile(layout.paths[-1], extra)
    with pytest.raises(MissingSegment, match="says that it is the last segment"):
        open_image(layout.paths[0])
