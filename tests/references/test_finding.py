"""Which stated digests concern an image, what of it they are of, and what the user is told about the rest."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.hashing import Digest
from imgkit.image import Extent, Image, Segment
from imgkit.references import References, Source, find_references, read_reference_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
M = "d" * 32


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.dd"
    path.write_bytes(b"media of disk.dd")
    return path


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    for suffix in ("001", "002", "003"):
        (tmp_path / f"disk.dd.{suffix}").write_bytes(b"0123456789")
    return tmp_path / "disk.dd.001"


def find(path: Path, *against: Path, sidecars: bool = True) -> References:
    with open_image(path) as image:
        return find_references(image, against=[str(each) for each in against], sidecars=sidecars)


def unusable(found: References) -> list[str]:
    return [each.message for each in found.unusable]


def said(found: References) -> list[tuple[str, str, str]]:
    """(digest's start, of, kind) of each."""
    return [(each.digest.value[:1], each.of, each.source.kind) for each in found.references]


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_nothing_beside_it(disk: Path) -> None:
    assert find(disk) == References((), ())


def test_where_it_came_from(disk: Path, tmp_path: Path) -> None:
    sums = write(tmp_path / "SHA256SUMS", f"{B}  other.dd", f"{A}  disk.dd")
    (reference,) = find(disk).references
    assert reference.digest == Digest("sha256", A)
    assert reference.source == Source(
        "sidecar", path=str(sums), line=2, origin="acquisition", protection="loose"
    )
    assert reference.name == "disk.dd"


@pytest.mark.parametrize(
    "name",
    [
        "disk.dd.sha256", "disk.sha256", "disk.dd.SHA256", "DISK.DD.sha256", "disk.dd.sha256.txt", "disk_sha256.txt",
        "SHA256SUMS", "sha256sums.txt", "checksums.txt", "hashes.txt", "CHECKSUM", "evidence-checksums.txt", "SHA256SUMS.asc",
    ],
)  # fmt: skip
def test_sidecars_by_name(disk: Path, tmp_path: Path, name: str) -> None:
    write(tmp_path / name, f"{A}  disk.dd")
    assert said(find(disk)) == [("a", "media", "sidecar")]
    assert find(disk, sidecars=False).references == ()


@pytest.mark.parametrize(
    "name", ["other.dd.sha256", "disk.dd.txt", "disk.raw.sha256", "notes.txt", "xdisk.dd.sha256", "disk.dd2.sha256"]
)  # fmt: skip
def test_files_that_are_nobodys_sidecar(disk: Path, tmp_path: Path, name: str) -> None:
    write(tmp_path / name, f"{A}  disk.dd")
    assert find(disk) == References((), ())


@pytest.mark.parametrize(
    "line",
    [
        f"{A}  disk.dd",
        f"{A} *disk.dd",
        f"{A}  ./disk.dd",
        f"{A}  /mnt/evidence/disk.dd",
        f"{A}  media:disk.dd",
        f"{A}  media:/ev/disk.dd",
        f"{A}  D:\\evidence\\disk.dd",
        f"SHA256 (disk.dd) = {A}",
        f"SHA256 (media:disk.dd) = {A.upper()}",
        f"{A}  disk.dd\r",
    ],
)
def test_names_of_the_image(disk: Path, tmp_path: Path, line: str) -> None:
    write(tmp_path / "SHA256SUMS", line)
    assert said(find(disk)) == [("a", "media", "sidecar")]


@pytest.mark.parametrize(
    "name", ["disk.dd2", "xdisk.dd", "disk.dd/other", "disk.dd.bak", "disk.dd offset 0-9", "media:disk"]
)  # fmt: skip
def test_names_of_other_files(disk: Path, tmp_path: Path, name: str) -> None:
    write(tmp_path / "SHA256SUMS", f"{A}  {name}")
    assert find(disk) == References((), ())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    image = tmp_path / "образ é.dd"
    image.write_bytes(b"x")
    text = end.join([f"{B}  other.dd", f"{A}  образ é.dd", ""])
    (tmp_path / "SHA256SUMS").write_bytes(text.encode(encoding))
    assert said(find(image)) == [("a", "media", "sidecar")]


def test_names_composed_otherwise(tmp_path: Path) -> None:
    image = tmp_path / "caf\u00e9.dd"
    image.write_bytes(b"x")
    write(tmp_path / "SHA256SUMS", f"{A}  cafe\u0301.dd")
    assert said(find(image)) == [("a", "media", "sidecar")]


@pytest.mark.parametrize("name", [b"new\nline.dd", b"back\\slash.dd", b"\xff\xfe.dd", b" space .dd"])
def test_hostile_names(tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "wb") as file:
        file.write(b"x")
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    mark = b"" if escaped == name else b"\\"
    (tmp_path / "SHA256SUMS").write_bytes(mark + A.encode() + b"  " + escaped + b"\n")
    with open_image(path) as image:
        assert said(find_references(image)) == [("a", "media", "sidecar")]


@pytest.mark.parametrize("name", ["disk.dd.sha256", "disk.sha256"])
def test_a_bare_digest_concerns_the_file_it_is_named_after(disk: Path, tmp_path: Path, name: str) -> None:
    write(tmp_path / name, A)
    assert find(disk).references[0].name is None
    assert said(find(disk)) == [("a", "media", "sidecar")]
    write(tmp_path / name, f"{B}  -")
    assert said(find(disk)) == [("b", "media", "sidecar")]


def test_a_bare_digest_that_could_be_of_two_files(disk: Path, tmp_path: Path) -> None:
    sidecar = write(tmp_path / "disk.md5", M)
    (tmp_path / "disk.E01").write_bytes(b"EVF\x09\x0d\x0a\xff\x00")
    found = find(disk)
    assert found.references == ()
    assert "could be of disk.dd or of disk.E01" in found.notices[0]
    assert said(find(disk, sidecar)) == [("d", "media", "against")]


def test_a_bare_digest_in_a_list_is_nobodys(disk: Path, tmp_path: Path) -> None:
    sums = write(tmp_path / "hashes.txt", A)
    found = find(disk)
    assert found.references == ()
    assert "names no file" in found.notices[0]
    assert said(find(disk, sums)) == [("a", "media", "against")]


def test_the_algorithm_is_what_the_name_says(disk: Path, tmp_path: Path) -> None:
    write(tmp_path / "disk.dd.b3", f"{A}  disk.dd")
    write(tmp_path / "disk.dd.sha3-256", f"{B}  disk.dd")
    write(tmp_path / "B3SUMS", f"{C}  disk.dd")
    assert {str(each.digest)[:9] for each in find(disk).references} == {"blake3:aa", "blake3:cc", "sha3_256:"}


def test_a_digest_that_does_not_fit_the_name_is_no_digest(disk: Path, tmp_path: Path) -> None:
    write(tmp_path / "disk.dd.sha256", f"{M}  disk.dd")
    assert unusable(find(disk)) == [f"{tmp_path}/disk.dd.sha256 states no digest that is understood"]


def test_segments_of_a_set(parts: Path, tmp_path: Path) -> None:
    write(tmp_path / "MD5SUMS", f"{M}  disk.dd.001", f"{M}  disk.dd.003")
    write(tmp_path / "disk.dd.002.sha256", A)
    write(tmp_path / "disk.dd.sha256", f"{B}  disk.dd")
    write(tmp_path / "SHA256SUMS", f"{C}  media:disk.dd.001")
    found = find(parts)
    assert sorted((each.of, each.digest.value[:1]) for each in found.references) == [
        ("media", "b"),
        ("media", "c"),
        ("segment:0", "d"),
        ("segment:1", "a"),
        ("segment:2", "d"),
    ]
    assert found.notices == ()


def test_bare_sidecar_of_the_joined_media(parts: Path, tmp_path: Path) -> None:
    write(tmp_path / "disk.dd.sha256", A)
    assert said(find(parts)) == [("a", "media", "sidecar")]


def test_the_joined_file_beside_its_set(parts: Path, disk: Path, tmp_path: Path) -> None:
    """`disk.dd` is there as well: a bare digest named after it is its own, not the set's."""
    write(tmp_path / "disk.dd.sha256", A)
    assert find(parts).references == ()
    assert said(find(disk)) == [("a", "media", "sidecar")]


class Container(Image):
    """Stands for a format whose media is not its file."""

    format = "e01"

    def __init__(self, paths: Sequence[str]) -> None:
        self.path = paths[0]
        self.size = 0
        self.segments = tuple(Segment(path, 1, os.stat("/")) for path in paths)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        raise NotImplementedError

    def data_extents(self) -> Iterator[Extent]:
        raise NotImplementedError

    def close(self) -> None:
        """Holds nothing."""


def test_a_container_is_not_its_media(tmp_path: Path) -> None:
    one, two = str(tmp_path / "disk.E01"), str(tmp_path / "disk.E02")
    write(tmp_path / "SHA256SUMS", f"{A}  disk.E01", f"{B}  media:disk.E01", f"{C}  disk.E02")
    write(tmp_path / "disk.md5", M)
    assert said(find_references(Container([one]))) == [
        ("a", "container", "sidecar"),
        ("b", "media", "sidecar"),
    ]
    assert said(find_references(Container([one, two]))) == [
        ("a", "segment:0", "sidecar"),
        ("b", "media", "sidecar"),
        ("c", "segment:1", "sidecar"),
    ]


def test_through_a_symlink_both_names_count(disk: Path, tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.mkdir()
    (links / "current.dd").symlink_to(disk)
    write(tmp_path / "SHA256SUMS", f"{A}  disk.dd")
    write(links / "current.dd.md5", M)
    assert said(find(links / "current.dd")) == [("d", "media", "sidecar"), ("a", "media", "sidecar")]


def test_against_names_the_image(disk: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    sums = write(elsewhere / "anything", f"{B}  other.dd", f"{A}  disk.dd", f"MD5 (disk.dd) = {M}")
    found = find(disk, sums)
    assert said(found) == [("a", "media", "against"), ("d", "media", "against")]
    assert [each.source.line for each in found.references] == [2, 3]
    assert found.notices == ()


def test_against_states_one_nameless_digest(disk: Path, tmp_path: Path) -> None:
    assert said(find(disk, write(tmp_path / "note", A))) == [("a", "media", "against")]
    both = write(tmp_path / "note2", f"SHA256: {A}", f"MD5: {M}")
    assert said(find(disk, both)) == [("a", "media", "against"), ("d", "media", "against")]


def test_against_states_nameless_digests_of_one_algorithm(disk: Path, tmp_path: Path) -> None:
    found = find(disk, write(tmp_path / "note", A, B))
    assert found.references == ()
    assert "several digests of one algorithm" in found.notices[0]


def test_against_names_another_file(disk: Path, tmp_path: Path) -> None:
    """A digest of something else is never compared in silence: it is said, and not used."""
    found = find(disk, write(tmp_path / "note", f"{A}  other.dd"))
    assert found.references == ()
    assert found.notices == (f"{tmp_path}/note states nothing about disk.dd: it names other.dd",)
    found = find(disk, write(tmp_path / "note", f"{A}  other.dd", f"{B}  another.dd"))
    assert "it names 2 other files" in found.notices[0]


def test_against_is_the_sidecar_of_another_image(disk: Path, tmp_path: Path) -> None:
    """Verify a.dd b.dd --against a.dd.sha256 --against b.dd.sha256: each bare digest is compared once."""
    (tmp_path / "other.dd").write_bytes(b"other")
    sidecars = [write(tmp_path / "disk.dd.sha256", A), write(tmp_path / "other.dd.sha256", B)]
    found = find(disk, *sidecars)
    assert said(found) == [("a", "media", "against")]
    assert "is named after other.dd" in found.notices[0]
    assert said(find(tmp_path / "other.dd", *sidecars)) == [("b", "media", "against")]


def test_against_a_sidecar_counts_once(disk: Path, tmp_path: Path) -> None:
    sums = write(tmp_path / "SHA256SUMS", f"{A}  disk.dd")
    assert said(find(disk, sums)) == [("a", "media", "against")]


def test_of_two_files_of_one_name_the_likelier_path_counts(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "disk.dd").write_bytes(b"x")
    sums = write(tmp_path / "sums", f"{A}  one/disk.dd", f"{B}  two/disk.dd")
    assert said(find(tmp_path / "one" / "disk.dd", sums)) == [("a", "media", "against")]
    assert said(find(tmp_path / "two" / "disk.dd", sums)) == [("b", "media", "against")]
    (tmp_path / "disk.dd").write_bytes(b"x")
    found = find(tmp_path / "disk.dd", sums)
    assert found.references == ()
    assert "which is meant cannot be told" in found.notices[0]


def test_a_name_that_differs_in_case_only_is_taken_where_one_alone_does(disk: Path, tmp_path: Path) -> None:
    sums = write(tmp_path / "SHA256SUMS", f"{A}  E:\\CASE\\DISK.DD", f"{B}  other.dd")
    found = find(disk)
    assert said(found) == [("a", "media", "sidecar")]
    assert found.notices == (
        f"{sums} names E:\\CASE\\DISK.DD, taken for disk.dd: only upper and lower case differ",
    )
    write(sums, f"{A}  DISK.DD", f"{B}  disk.dd")
    assert said(find(disk)) == [("b", "media", "sidecar")]
    write(sums, f"{A}  DISK.DD", f"{B}  Disk.dd")
    found = find(disk)
    assert said(found) == []
    assert (
        "several names that differ from disk.dd in upper and lower case only: DISK.DD, Disk.dd"
        in found.notices[0]
    )
    write(sums, f"{A}  DISK.DD")
    write(tmp_path / "DISK.DD", "a file of its own")
    assert said(find(disk)) == []


def test_one_name_stated_twice_is_for_the_comparison_to_judge(disk: Path, tmp_path: Path) -> None:
    write(tmp_path / "SHA256SUMS", f"{A}  disk.dd", f"{B}  disk.dd", f"{A}  disk.dd")
    assert [each.digest.value[:1] for each in find(disk).references] == ["a", "b", "a"]


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"no digest here\n", b"\0" * 100, os.urandom(5000), b"\xff\xfe", A.encode()[:-1]], ids=range(7)
)  # fmt: skip
def test_files_that_state_nothing(disk: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "note").write_bytes(content)
    assert unusable(find(disk, tmp_path / "note")) == [f"{tmp_path}/note states no digest that is understood"]
    (tmp_path / "hashes.txt").write_bytes(content)
    found = find(disk)
    assert found.references == ()
    assert found.notices == (f"{tmp_path}/hashes.txt states no digest that is understood",)
    (tmp_path / "disk.dd.sha256").write_bytes(content)
    (tmp_path / "disk.dd.md5").write_text(M, encoding="ascii")
    found = find(disk)
    assert unusable(found) == [f"{tmp_path}/disk.dd.sha256 states no digest that is understood"]
    assert [each.digest.algorithm for each in found.references] == ["md5"]  # it silences no other


def test_against_what_cannot_be_read(disk: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, words in (
        (tmp_path / "gone", "No such file"),
        (tmp_path, "it is no regular file"),
        (tmp_path / "fifo", "it is no regular file"),
    ):
        (text,) = unusable(find(disk, path))
        assert words in text


def test_a_file_that_is_too_large(disk: Path, tmp_path: Path) -> None:
    with (tmp_path / "SHA256SUMS").open("w") as file:
        file.write(f"{A}  disk.dd\n")
        file.truncate((16 << 20) + 1)
    assert "more than 16777216" in find(disk).notices[0]
    (tmp_path / "SHA256SUMS").write_bytes(b"\n" * 600_000)
    assert "more than 500000" in find(disk).notices[0]


def test_sidecars_that_are_no_files_are_passed_over(disk: Path, tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").mkdir()
    os.mkfifo(tmp_path / "disk.dd.sha256")
    (tmp_path / "disk.dd.md5").symlink_to("nowhere")
    assert find(disk) == References((), ())


def test_reading_leaves_the_access_time(disk: Path, tmp_path: Path) -> None:
    sums = write(tmp_path / "SHA256SUMS", f"{A}  disk.dd")
    os.utime(sums, ns=(1, sums.stat().st_mtime_ns))
    assert find(disk).references
    assert sums.stat().st_atime_ns == 1


def test_a_signed_list(disk: Path, tmp_path: Path) -> None:
    write(
        tmp_path / "SHA256SUMS.asc",
        "-----BEGIN PGP SIGNED MESSAGE-----", "Hash: SHA512", "", f"{A}  disk.dd", "-----BEGIN PGP SIGNATURE-----",
        "", "iQIzBAEBCgAdFiEE", "=abcd", "-----END PGP SIGNATURE-----",
    )  # fmt: skip
    assert said(find(disk)) == [("a", "media", "sidecar")]


def test_read_reference_file_states_everything(tmp_path: Path) -> None:
    path = write(tmp_path / "sums", f"{A}  one.dd", f"{B}  media:two.E01", f"MD5: {M}")
    found = read_reference_file(str(path))
    assert [(each.of, each.name, each.source.line) for each in found] == [
        ("container", "one.dd", 1),
        ("media", "media:two.E01", 2),
        ("container", None, 3),
    ]


def test_a_list_of_many_names_takes_no_time(parts: Path, tmp_path: Path) -> None:
    lines = [
        f"{hashlib.sha256(str(number).encode()).hexdigest()}  {number}/disk.dd.002"
        for number in range(50_000)
    ]
    write(tmp_path / "SHA256SUMS", *lines)
    found = find(parts)
    assert found.references == ()
    assert "which is meant cannot be told" in found.notices[0]
