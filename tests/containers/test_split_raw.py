"""A split set is whole, in order and of one piece, through whichever file it is opened, or it is an error naming a file."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.errors import MediaReadError, MissingSegment, NotPermitted
from imgkit.image import Extent
from imgkit.linux.files import Identity, acting_as
from tests.containers.sets import media, write_set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

NUMBERINGS = {
    "from-000": ["000", "001", "002", "003"],
    "from-001": ["001", "002", "003", "004"],
    "four-digits": ["0001", "0002", "0003"],
    "two-digits": ["00", "01", "02"],
    "letters": ["aa", "ab", "ac"],
    "three-letters": ["aaa", "aab", "aac"],
    "capitals": ["AA", "AB", "AC"],
}


def is_refused(path: Path, message: str) -> None:
    with pytest.raises(MissingSegment, match=message):
        open_image(path)


@pytest.mark.parametrize("suffixes", NUMBERINGS.values(), ids=NUMBERINGS)
def test_every_file_opens_the_whole(
    tmp_path: Path, suffixes: Sequence[str], untouched: Callable[[], None]
) -> None:
    content = media(len(suffixes) * 1000 - 250)
    paths = write_set(tmp_path, "disk.dd", suffixes, content, 1000)
    untouched()
    for path in paths:
        with open_image(path) as image:
            assert (image.format, image.size) == ("split-raw", len(content))
            assert image.path == str(path)
            assert [segment.path for segment in image.segments] == [str(each) for each in paths]
            assert [segment.size for segment in image.segments[:-1]] == [1000] * (len(paths) - 1)
            assert image.backing_fileno() is None
            assert image.read_at(0, 10**6) == content


def test_reads_at_every_border(tmp_path: Path) -> None:
    content = media(10 * 64 - 7)
    paths = write_set(tmp_path, "disk", [f"{number:03}" for number in range(1, 11)], content, 64)
    with open_image(paths[3]) as image:
        for offset in range(len(content) + 2):
            for length in (1, 63, 64, 65, 200, 1000):
                assert image.read_at(offset, length) == content[offset : offset + length]


@pytest.mark.parametrize("options", [["-a", "2"], ["-d", "-a", "3"], [], ["-d"]], ids=" ".join)
def test_what_coreutils_split_writes(tmp_path: Path, options: list[str]) -> None:
    """700 files: without -a the suffixes widen from .yz to .zaaa, with -d from .89 to .9000."""
    count = 700 if options != ["-a", "2"] else 676
    content = media(count * 16)
    source = tmp_path / "source"
    source.write_bytes(content)
    subprocess.run(["split", *options, "-b", "16", source, tmp_path / "disk."], check=True)
    paths = sorted(tmp_path.glob("disk.*"))
    assert len(paths) == count
    for path in (paths[0], paths[count // 2], paths[-1]):
        with open_image(path) as image:
            assert len(image.segments) == count
            assert image.read_at(0, len(content)) == content


def test_more_than_999(tmp_path: Path) -> None:
    content = media(1205 * 8)
    names = [f"{number:03}" for number in range(1, 1206)]
    assert names[998:1000] == ["999", "1000"]
    paths = write_set(tmp_path, "disk", names, content, 8)
    for path in (paths[0], paths[999], paths[-1]):
        with open_image(path) as image:
            assert image.read_at(0, len(content)) == content


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """How many there may be at most, and not many more than the process has now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = len(os.listdir("/proc/self/fd")) + 48
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    yield most
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_segments_than_descriptors(tmp_path: Path, few_descriptors: int) -> None:
    content = media(200 * 100)
    paths = write_set(tmp_path, "disk", [f"{number:04}" for number in range(200)], content, 100)
    before = len(os.listdir("/proc/self/fd"))
    wrong: list[int] = []

    def read(seed: int) -> None:
        for step in range(300):
            offset = (seed * 977 + step * 1231) % 19_000
            if image.read_at(offset, 350) != content[offset : offset + 350]:
                wrong.append(offset)

    with open_image(paths[0]) as image:
        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(os.listdir("/proc/self/fd")) <= before + few_descriptors // 4 + 1
    assert wrong == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_descriptor_left_in_the_process(tmp_path: Path, few_descriptors: int) -> None:
    content = media(30 * 100)
    paths = write_set(tmp_path, "disk", [f"{number:03}" for number in range(30)], content, 100)
    taken: list[int] = []
    with open_image(paths[0]) as image:
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            assert image.read_at(0, len(content)) == content
        finally:
            for fd in taken:
                os.close(fd)


def test_fewer_descriptors_left_than_segments_when_it_is_opened(tmp_path: Path, few_descriptors: int) -> None:
    content = media(30 * 100)
    paths = write_set(tmp_path, "disk", [f"{number:03}" for number in range(30)], content, 100)
    taken = [os.dup(0) for _ in range(44)]
    try:
        with open_image(paths[0]) as image:
            assert image.read_at(0, len(content)) == content
    finally:
        for fd in taken:
            os.close(fd)


def test_data_and_holes_over_segments(tmp_path: Path) -> None:
    for index, suffix in enumerate(("001", "002", "003")):
        with (tmp_path / f"disk.{suffix}").open("wb") as file:
            file.truncate(1 << 20)
            if index != 1:
                file.seek(8192)
                file.write(b"x" * 4096)
    with open_image(tmp_path / "disk.002") as image:
        assert list(image.data_extents()) == [Extent(8192, 4096), Extent((2 << 20) + 8192, 4096)]


def test_data_across_a_border_is_one_extent(tmp_path: Path) -> None:
    paths = write_set(tmp_path, "disk", ["001", "002", "003"], media(3 * 4096), 4096)
    with open_image(paths[0]) as image:
        assert list(image.data_extents()) == [Extent(0, 3 * 4096)]


def test_a_hole_names_the_file(tmp_path: Path) -> None:
    paths = write_set(tmp_path, "disk", ["001", "002", "003", "004"], media(4000), 1000)
    paths[1].unlink()
    for path in (paths[0], paths[2], paths[3]):
        is_refused(path, r"disk\.002 is not there")


def test_the_first_is_missing(tmp_path: Path) -> None:
    paths = write_set(tmp_path, "disk", ["001", "002", "003"], media(3000), 1000)
    paths[0].unlink()
    for path in paths[1:]:
        is_refused(path, r"disk\.001 is not there, though disk\.00. is")
    paths[2].unlink()
    is_refused(paths[1], r"disk\.001 is not there, though disk\.002 is")


def test_a_hole_among_letters(tmp_path: Path) -> None:
    paths = write_set(tmp_path, "disk", ["aa", "ab", "ac", "ad"], media(4000), 1000)
    paths[2].unlink()
    for path in (paths[0], paths[1], paths[3]):
        is_refused(path, r"disk\.ac is not there, though disk\.ad is")
    paths[0].unlink()
    is_refused(paths[1], r"disk\.aa is not there")


def test_a_hole_where_the_numbering_widens(tmp_path: Path) -> None:
    paths = write_set(tmp_path, "disk", [f"{number:03}" for number in range(1, 1005)], media(1004 * 8), 8)
    paths[999].unlink()
    for path in (paths[0], paths[1002]):
        is_refused(path, r"disk\.1000 is not there")


@pytest.mark.parametrize("options", [[], ["-d"]], ids=["letters", "digits"])
def test_a_hole_where_split_widens(tmp_path: Path, options: list[str]) -> None:
    source = tmp_path / "source"
    source.write_bytes(media(700 * 16))
    subprocess.run(["split", *options, "-b", "16", source, tmp_path / "disk."], check=True)
    first_wide = "9000" if options else "zaaa"
    (tmp_path / f"disk.{first_wide}").unlink()
    last = max(tmp_path.glob("disk.*"))
    assert len(last.suffix) == 5
    for path in (last, tmp_path / ("disk.05" if options else "disk.af")):
        is_refused(path, rf"disk\.({first_wide}|90|za) is not there")


def test_a_missing_last_segment_cannot_be_seen(tmp_path: Path) -> None:
    paths = write_set(tmp_path, "disk", ["001", "002", "003"], media(3000), 1000)
    paths[2].unlink()
    with open_image(paths[0]) as image:
        assert image.size == 2000


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_short_segment_before_the_last(tmp_path: Path, index: int) -> None:
    paths = write_set(tmp_path, "disk", ["001", "002", "003", "004", "005"], media(4600), 1000)
    os.truncate(paths[index], 512)
    for path in paths:
        is_refused(path, rf"{paths[index].name} is short: 512 bytes where the others have 1000")


def test_a_long_segment_in_the_middle(tmp_path: Path) -> None:
    paths = write_set(tmp_path, "disk", ["001", "002", "003", "004", "005"], media(4600), 1000)
    paths[2].write_bytes(media(2000))
    is_refused(paths[0], r"disk\.003 is longer than the others")


@pytest.mark.parametrize("suffixes", [["001", "002"], ["001", "002", "003"]], ids=len)
def test_a_last_segment_longer_than_the_rest(tmp_path: Path, suffixes: list[str]) -> None:
    paths = write_set(tmp_path, "disk", suffixes, media(len(suffixes) * 1000), 1000)
    paths[-1].write_bytes(media(1500))
    is_refused(paths[0], rf"last segment .*{paths[-1].name} has 1500 bytes, more than the 1000")


def test_widths_of_two_sets_mixed(tmp_path: Path) -> None:
    write_set(tmp_path, "disk", ["001", "002", "0003"], media(3000), 1000)
    is_refused(tmp_path / "disk.001", r"disk\.003 is not there, though disk\.0003 is")
    is_refused(tmp_path / "disk.0003", r"disk\.0001 is not there")


def test_two_whole_sets_of_one_stem(tmp_path: Path) -> None:
    write_set(tmp_path, "disk", ["001", "002"], media(2000, seed=1), 1000)
    write_set(tmp_path, "disk", ["0001", "0002"], media(2000, seed=2), 1000)
    with open_image(tmp_path / "disk.002") as image:
        assert image.read_at(0, 2000) == media(2000, seed=1)
    with open_image(tmp_path / "disk.0002") as image:
        assert image.read_at(0, 2000) == media(2000, seed=2)


@pytest.mark.parametrize(
    "suffixes", [("DISK.001", "disk.002"), ("disk.aa", "disk.AB")], ids=["stem", "letters"]
)
def test_names_that_differ_in_case(tmp_path: Path, suffixes: tuple[str, str]) -> None:
    for name in suffixes:
        (tmp_path / name).write_bytes(media(1000))
    is_refused(tmp_path / suffixes[0], rf"is not there, but {suffixes[1]} is: the names differ in case")


def test_a_segment_that_is_a_directory(tmp_path: Path) -> None:
    write_set(tmp_path, "disk", ["001", "003"], media(2000), 1000)
    (tmp_path / "disk.002").mkdir()
    with pytest.raises(MissingSegment, match=r"disk\.002 stands where a segment should be"):
        open_image(tmp_path / "disk.001")


@pytest.mark.parametrize("suffix", ["000", "001", "0001", "00", "aa", "aaa", "100", "2024", "10"])
def test_a_lone_file_is_raw_and_announced(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"disk.{suffix}"
    path.write_bytes(media(1000))
    with open_image(path) as image:
        assert (image.format, image.size) == ("raw", 1000)
        notices = image.metadata["notices"]
    assert isinstance(notices, tuple)
    assert "no other segment is beside it" in notices[0]


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("disk.dd", ["disk.001", "disk.002"]),
        ("disk.dd", ["disk.aa", "disk.ab"]),
        ("disk.img", ["disk.raw", "disk.bin", "disk.iso"]),
        ("disk.img", ["disk.aaa", "disk.aab"]),
        ("backup.2024", ["backup.2023", "backup.2025"]),
        ("disk", ["disk.001"]),
        ("disk.1", ["disk.2"]),
        ("a.001", ["b.002"]),
        (".001", ["x.002"]),
    ],
    ids=str,
)
def test_names_that_are_no_set(tmp_path: Path, name: str, beside: list[str]) -> None:
    for size, other in enumerate(beside, start=500):
        (tmp_path / other).write_bytes(media(size))
    (tmp_path / name).write_bytes(media(1000))
    with open_image(tmp_path / name) as image:
        assert (image.format, image.size) == ("raw", 1000)


def test_words_beside_lettered_segments_are_no_hole(tmp_path: Path) -> None:
    paths = write_set(tmp_path, "disk", ["aaa", "aab", "aac"], media(2800), 1000)
    for word in ("txt", "log", "img", "md", "dd"):
        (tmp_path / f"disk.{word}").write_bytes(b"x")
    with open_image(paths[1]) as image:
        assert image.size == 2800


def test_through_symlinks(tmp_path: Path) -> None:
    store, links = tmp_path / "store", tmp_path / "links"
    store.mkdir()
    links.mkdir()
    content = media(3000)
    paths = write_set(store, "disk", ["001", "002", "003"], content, 1000)
    (links / "current.dd").symlink_to(paths[0])
    (links / "disk.002").symlink_to(paths[1])
    for number, path in enumerate(paths, start=1):
        (links / f"other.{number:03}").symlink_to(path)
    (links / "again").symlink_to("disk.002")
    (links / "stored").symlink_to("other.003")
    for number, path in enumerate(paths, start=1):
        path.rename(store / f"key{number}")
        path.symlink_to(f"key{number}")
    for name in ("current.dd", "disk.002", "other.001", "other.003", "again", "stored"):
        with open_image(links / name) as image:
            assert image.read_at(0, 5000) == content


def test_a_segment_replaced_while_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgkit.containers.segment_files._MOST_OPEN", 1)
    paths = write_set(tmp_path, "disk", ["001", "002", "003"], media(3000), 1000)
    with open_image(paths[0]) as image:
        other = tmp_path / "other"
        shutil.copy(paths[0], other)
        other.replace(paths[0])
        with pytest.raises(MediaReadError, match="not the file that was there") as caught:
            image.read_at(500, 1000)
        assert (caught.value.offset, caught.value.length) == (500, 500)
        paths[1].unlink()
        image.read_at(2500, 10)
        with pytest.raises(MediaReadError, match="cannot be opened any more") as caught:
            image.read_at(1500, 100)
        assert (caught.value.offset, caught.value.length) == (1500, 100)


def test_a_segment_cut_while_open(tmp_path: Path) -> None:
    paths = write_set(tmp_path, "disk", ["001", "002", "003"], media(3000), 1000)
    with open_image(paths[0]) as image:
        os.truncate(paths[1], 100)
        with pytest.raises(MediaReadError, match="shorter") as caught:
            image.read_at(0, 3000)
        assert (caught.value.offset, caught.value.length) == (1100, 900)
        with pytest.raises(MediaReadError, match="shorter"):
            list(image.data_extents())


def test_reading_after_close(tmp_path: Path) -> None:
    paths = write_set(tmp_path, "disk", ["001", "002"], media(2000), 1000)
    image = open_image(paths[0])
    image.close()
    image.close()
    with pytest.raises(ValueError, match="closed image"):
        image.read_at(0, 1)


def test_empty_segments(tmp_path: Path) -> None:
    for suffix in ("001", "002"):
        (tmp_path / f"disk.{suffix}").touch()
    with open_image(tmp_path / "disk.001") as image:
        assert (image.size, image.read_at(0, 10), list(image.data_extents())) == (0, b"", [])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act as another user")
def test_rights_of_the_opener_count_in_every_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file server that squashes root: the set was opened as a user, and a thread must open a segment again."""
    monkeypatch.setattr("imgkit.containers.segment_files._MOST_OPEN", 1)
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o055)
    paths = write_set(tmp_path, "disk", ["001", "002", "003"], media(3000), 1000)
    user = Identity(12345, 12345)
    read: list[bytes] = []
    with acting_as(user):
        image = open_image(paths[0])
    paths[0].chmod(0)  # now the user cannot open it again; root, as whom this thread acts, could
    with image:
        with pytest.raises(MediaReadError, match="Permission denied"):
            image.read_at(0, 10)
        thread = threading.Thread(target=lambda: read.append(image.read_at(1000, 10)))
        thread.start()
        thread.join()
    assert read == [media(3000)[1000:1010]]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act as another user")
def test_a_directory_that_cannot_be_listed(tmp_path: Path) -> None:
    for parent in (tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o055)
    paths = write_set(tmp_path, "disk", ["001", "002"], media(2000), 1000)
    (tmp_path / "plain.dd").write_bytes(b"x")
    tmp_path.chmod(0o711)
    with acting_as(Identity(12345, 12345)):
        with pytest.raises(NotPermitted, match="cannot list"):
            open_image(paths[0])
        with open_image(tmp_path / "plain.dd") as image:
            assert image.size == 1
