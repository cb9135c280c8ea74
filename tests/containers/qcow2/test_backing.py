"""Chains of images: read as QEMU reads them, shown and recorded whole, and refused where any of it is in doubt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.errors import ImageError, IncompleteChain, UnknownFormat
from imgkit.hashing import hash_range
from tests.containers.conftest import trace
from tests.containers.oracle import bad_ranges
from tests.containers.qcow2.qemu import (
    MIB,
    as_raw,
    convert,
    create,
    io,
    l2_tables,
    mixed_media,
    peek,
    poke,
)
from tests.containers.qcow2.test_differential import check_against
from tests.containers.test_block_device import loop_device

if TYPE_CHECKING:
    from imgkit.image import Image

BASE = 4 * MIB + 512


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.raw"
    path.write_bytes(mixed_media(BASE))
    return path


def overlay(path: Path, on: str, size: str | int, *options: str, kind: str | None = "qcow2") -> Path:
    """With a stated format of the backing file or, in spite of qemu-img, without one."""
    if kind is not None:
        return create(path, size, "-b", on, "-F", kind, *options)
    create(path, size, "-u", "-b", on, "-F", "raw", *options)
    head = bytearray(path.read_bytes()[:65536])
    at = head.index((0xE2792ACA).to_bytes(4, "big"))
    head[at : at + 4] = b"\1\2\3\4"  # an extension that nobody knows is ignored
    poke(path, 0, bytes(head))
    return path


@pytest.fixture
def chain(base: Path, tmp_path: Path) -> list[Path]:
    """Four files, the media first: sizes, clusters and versions all differ."""
    one = overlay(tmp_path / "one.qcow2", "base.raw", "6M", kind="raw")
    io(one, "write -P 1 1M 100k", "write -z 2M 1M", "discard 3M 256k", "write -P 3 5M 10k")
    two = overlay(tmp_path / "two.qcow2", "one.qcow2", "5M", "-o", "extended_l2=on,cluster_size=128k")
    io(two, "write -P 2 1M 5k", "write -z 300k 5k", "write -P 8 3M 1500k")
    three = overlay(tmp_path / "three.qcow2", "two.qcow2", "7M", "-o", "compat=0.10,cluster_size=4k")
    io(three, "write -P 2 2M 5k", "write -z 1030k 5k", "write -P 5 6M 64k")
    return [three, two, one, base]


def test_chain_of_four(chain: list[Path]) -> None:
    expected = as_raw(chain[0])
    before = [trace(path) for path in chain]
    with open_image(chain[0]) as image:
        check_against(image, expected)
        assert [(s.path, s.role, s.stat.st_ino) for s in image.segments] == [
            (str(path), "parent" if index else "segment", path.stat().st_ino)
            for index, path in enumerate(chain)
        ]
        assert image.metadata["chain"] == (
            {"path": str(chain[1]), "format": "qcow2", "size": 5 * MIB},
            {"path": str(chain[2]), "format": "qcow2", "size": 6 * MIB},
            {"path": str(chain[3]), "format": "raw", "size": BASE},
        )
        notices = " ".join(str(item) for item in image.metadata["notices"])  # type: ignore[attr-defined]
        assert notices.count("what it lacks reads as zeros") == 2
        assert notices.count("the rest of it is not part of the media") == 1
    assert [trace(path) for path in chain] == before


def test_extents_are_those_of_the_whole_chain(tmp_path: Path) -> None:
    io(create(tmp_path / "one.qcow2", "64M"), "write -P 1 1M 64k", "write -P 1 8M 1M", "write -P 1 40M 64k")
    two = overlay(tmp_path / "two.qcow2", "one.qcow2", "32M")
    io(two, "write -P 2 1088k 64k", "write -z 8320k 256k", "write -P 3 20M 64k")
    with open_image(two) as image:
        assert [(e.offset >> 10, e.length >> 10) for e in image.data_extents()] == [
            (1024, 128),
            (8192, 128),
            (8576, 640),
            (20480, 64),
        ]


@pytest.mark.parametrize("name", ["sub/base.raw", "../x/base.raw", "/{}/x/base.raw", "file:base.raw"])
def test_where_the_backing_file_lies(base: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "x"
    (folder / "sub").mkdir(parents=True)
    target = folder / name.removeprefix("file:").format(str(tmp_path).strip("/"))
    if not target.exists():
        base.rename(target)
    path = create(folder / "d.qcow2", BASE, "-u", "-b", name.format(str(tmp_path).strip("/")), "-F", "raw")
    with open_image(path) as image:
        assert image.read_at(0, BASE) == mixed_media(BASE)
        assert notices(image) == ()


@pytest.mark.parametrize("name", ["../base.raw", "../../{}/base.raw", "/{}/base.raw", "../x.raw"])
def test_a_file_from_elsewhere_is_named(base: Path, tmp_path: Path, name: str) -> None:
    """`/etc/shadow` or `../../dev/sda` would be the media's in silence, as nothing in a qcow2 tells that they are not meant."""
    folder = tmp_path / "x"
    folder.mkdir()
    (tmp_path / "x.raw").hardlink_to(base)  # a name that only begins as the folder's does
    climbing = name.replace("../../{}", "../" * 20 + "{}").format(str(tmp_path).strip("/"))
    path = create(folder / "d.qcow2", BASE, "-u", "-b", climbing, "-F", "raw")
    with open_image(path) as image:
        says = f"{path} names a backing file outside of its own folder, {tmp_path / Path(name).name}:"
        assert [str(notice).startswith(says) for notice in notices(image)] == [True]
        assert image.read_at(0, BASE) == mixed_media(BASE)


def notices(image: Image) -> tuple[str, ...]:
    found = image.metadata.get("notices", ())
    return found if isinstance(found, tuple) else ()


def test_name_that_is_no_text(base: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/b\xffse.raw"
    os.rename(base, odd)
    path = create(tmp_path / "d.qcow2", BASE, "-u", "-b", "bXse.raw", "-F", "raw")
    poke(path, peek(path, 8, ">Q") + 1, b"\xff")
    with open_image(path) as image:
        assert image.read_at(0, BASE) == mixed_media(BASE)
        assert os.fsencode(image.segments[1].path) == odd


@pytest.mark.parametrize(
    "name",
    [
        "nbd://host/export",
        "ssh://host/disk",
        "json:{}",
        'json:{"driver":"raw"}',
        "host_device:/dev/sda",
        "C:\\base",
        "file:",
    ],
)
def test_name_of_no_file(tmp_path: Path, name: str) -> None:
    path = create(tmp_path / "d.qcow2", "1M", "-u", "-b", name, "-F", "raw")
    with pytest.raises(IncompleteChain, match="names no file") as caught:
        open_image(path)
    assert name in caught.value.message
    assert caught.value.hint


@pytest.mark.live
@pytest.mark.parametrize("kind", ["qcow2", "raw", None])
def test_a_device_is_refused(live: None, tmp_path: Path, kind: str | None) -> None:
    """A logical volume can hold a qcow2: read as raw, what it stores would pass for what a guest saw."""
    below = io(create(tmp_path / "below.qcow2", "1M"), "write -P 5 0 1M")
    before = set(os.listdir("/proc/self/fd"))
    with loop_device(below, 512) as device:
        path = overlay(tmp_path / "d.qcow2", device, "1M", "-u", kind=kind)
        with pytest.raises(
            IncompleteChain, match=f"builds upon {device}, a device of this machine"
        ) as caught:
            open_image(path)
    assert caught.value.hint
    assert set(os.listdir("/proc/self/fd")) == before


def test_absent(chain: list[Path]) -> None:
    chain[2].unlink()
    with pytest.raises(IncompleteChain, match=f"{chain[1]} builds upon {chain[2]}, which is not there"):
        open_image(chain[0])


def test_circle(tmp_path: Path) -> None:
    one = create(tmp_path / "one.qcow2", "1M", "-u", "-b", "two.qcow2", "-F", "qcow2")
    create(tmp_path / "two.qcow2", "1M", "-u", "-b", "one.qcow2", "-F", "qcow2")
    with pytest.raises(IncompleteChain, match="builds upon itself"):
        open_image(one)
    with pytest.raises(IncompleteChain, match="builds upon itself"):
        open_image(create(tmp_path / "own.qcow2", "1M", "-u", "-b", "own.qcow2", "-F", "qcow2"))


def test_damaged_or_encrypted_parent(chain: list[Path]) -> None:
    poke(chain[2], 72, (1).to_bytes(8, "big"))
    with pytest.raises(ImageError, match=f"{chain[2]} is a qcow2 that is marked as dirty"):
        open_image(chain[0])


def test_descriptors_are_closed_where_opening_fails(chain: list[Path]) -> None:
    before = set(os.listdir("/proc/self/fd"))
    poke(chain[1], 24, (1 << 50).to_bytes(8, "big"))
    for _ in range(3):
        with pytest.raises(ImageError):
            open_image(chain[0])
    chain[3].unlink()
    with pytest.raises(ImageError):
        open_image(chain[2])
    assert set(os.listdir("/proc/self/fd")) == before


def test_raw_is_raw_whatever_the_guest_wrote(tmp_path: Path) -> None:
    """A guest that writes a qcow2 header to its raw disk gets no other file of this machine into the media."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * MIB)
    base = tmp_path / "base.raw"
    base.write_bytes(
        create(tmp_path / "x.qcow2", MIB, "-b", "secret", "-F", "raw").read_bytes().ljust(MIB, b"\0")
    )
    with open_image(overlay(tmp_path / "d.qcow2", "base.raw", MIB, kind="raw")) as image:
        assert image.read_at(0, MIB) == base.read_bytes()
    (tmp_path / "noise.raw").write_bytes(bytes(MIB))
    wrong = create(tmp_path / "e.qcow2", MIB, "-u", "-b", "noise.raw", "-F", "qcow2")
    with pytest.raises(IncompleteChain, match="a qcow2 it says, but that is raw"):
        open_image(wrong)


def test_format_that_is_not_stated_and_could_be_a_guests_doing(tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(create(tmp_path / "x.qcow2", MIB).read_bytes().ljust(MIB - 100, b"\0"))
    path = overlay(tmp_path / "d.qcow2", "base.raw", MIB, kind=None)
    with pytest.raises(IncompleteChain, match="a guest can have written that") as caught:
        open_image(path)
    assert caught.value.hint is not None
    assert "rebase -u" in caught.value.hint


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_format_that_is_not_stated(base: Path, tmp_path: Path, kind: str) -> None:
    parent = base if kind == "raw" else convert(base, tmp_path / "base.qcow2", "-c")
    path = overlay(tmp_path / "d.qcow2", parent.name, BASE, kind=None)
    with open_image(path) as image:
        assert image.read_at(0, BASE) == mixed_media(BASE)
        assert f"{parent}: it is read as {kind}, as its content says" in str(image.metadata["notices"])
        facts = image.metadata["container"]
        assert isinstance(facts, dict)
        assert (facts["backing_file"], facts["backing_format"]) == (parent.name, None)


def test_format_that_is_not_read(tmp_path: Path) -> None:
    path = create(tmp_path / "d.qcow2", MIB, "-u", "-b", "base.qed", "-F", "qed")
    with pytest.raises(UnknownFormat, match="a qed it says"):
        open_image(path)


def test_damage_in_a_parent_costs_only_what_is_read_from_it(tmp_path: Path) -> None:
    """Clusters of 64 KiB above, of 1 MiB below: half of the bad one is covered by good data of ours."""
    media = bytearray(mixed_media(4 * MIB, seed=8))
    media[MIB : MIB + 4096] = b"not a hole, certainly".ljust(4096)
    source = tmp_path / "source.raw"
    source.write_bytes(media)
    below = convert(source, tmp_path / "below.qcow2", "-o", "cluster_size=1M")
    above = io(overlay(tmp_path / "above.qcow2", "below.qcow2", 4 * MIB), "write -P 7 1M 512k")
    media[MIB : MIB + 524288] = b"\7" * 524288
    poke(below, l2_tables(below)[0] + 8, (1 << 63 | 1 << 40).to_bytes(8, "big"))
    with open_image(above) as image:
        assert bad_ranges(image, bytes(media)) == [(MIB + 524288, 524288)]
        passed = hash_range(image, 0, image.size, algorithms=["sha256"])
        assert passed.read_errors == ((MIB + 524288, 524288),)


def test_parent_that_shrinks(base: Path, tmp_path: Path) -> None:
    path = io(overlay(tmp_path / "d.qcow2", "base.raw", BASE, kind="raw"), "write -P 7 3M 64k")
    expected = bytearray(base.read_bytes())
    expected[3 * MIB : 3 * MIB + 65536] = b"\7" * 65536
    with open_image(path) as image:
        with base.open("r+b") as file:
            file.truncate(2 * MIB)
        found = bad_ranges(image, bytes(expected))
    assert found == [(2 * MIB, MIB), (3 * MIB + 65536, BASE - 3 * MIB - 65536)]


def test_bad_sector_below_a_raw_parent(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    path = overlay(tmp_path / "d.qcow2", "base.raw", BASE, kind="raw")
    plain = os.preadv

    def preadv(fd: int, buffers: list[memoryview], offset: int) -> int:
        if os.fstat(fd).st_size == BASE and offset < MIB + 512 and offset + len(buffers[0]) > MIB:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return plain(fd, buffers, offset)

    monkeypatch.setattr("os.preadv", preadv)
    with open_image(path) as image:
        assert hash_range(image, 0, BASE, algorithms=["sha256"]).read_errors == ((MIB, 512),)
