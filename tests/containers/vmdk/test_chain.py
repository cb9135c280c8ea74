"""Snapshots and linked clones: read over the very parent that they were made from, or refused."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.errors import CorruptImage, IncompleteChain
from imgkit.image import Extent
from tests.containers.conftest import trace
from tests.containers.oracle import bad_ranges
from tests.containers.vmdk import make
from tests.containers.vmdk.witness import as_raw, run

if TYPE_CHECKING:
    from pathlib import Path

GRAIN = 65536
SIZE = 30 * GRAIN
BASE = make.media(SIZE, 6)
SECTORS = SIZE // 512
CHANGED = {3: b"\x11" * GRAIN, 7: b"\x22" * GRAIN}  # grains of the child
WIPED = (1, 2)


def child_media(base: bytes = BASE) -> bytes:
    media = bytearray(base)
    for number, grain in CHANGED.items():
        media[number * GRAIN : (number + 1) * GRAIN] = grain
    for number in WIPED:
        media[number * GRAIN : (number + 1) * GRAIN] = bytes(GRAIN)
    return bytes(media)


def write_base(path: Path, cid: str = "0000aaaa") -> None:
    text = make.descriptor([f'RW {SECTORS} SPARSE "{path.name}"'], cid=cid)
    make.write_sparse(path, BASE, text=text)


def write_child(
    path: Path, hint: str, *, parent: str = "0000aaaa", cid: str = "0000bbbb", size: int = SIZE
) -> None:
    own = bytearray(size)
    for number, grain in CHANGED.items():
        own[number * GRAIN : (number + 1) * GRAIN] = grain
    line = f'RW {size // 512} SPARSE "{path.name}"'
    text = make.descriptor([line], cid=cid, parent=parent, hint=hint)
    make.write_sparse(path, bytes(own), text=text, zeroed=WIPED)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A base and its snapshot; the snapshot's path."""
    write_base(tmp_path / "disk.vmdk")
    write_child(tmp_path / "disk-000001.vmdk", "disk.vmdk")
    return tmp_path / "disk-000001.vmdk"


def test_a_snapshot_over_its_base(pair: Path, tmp_path: Path) -> None:
    with open_image(pair) as image:
        assert bad_ranges(image, child_media()) == []
        assert [(segment.path, segment.role) for segment in image.segments] == [
            (str(pair), "segment"),
            (str(tmp_path / "disk.vmdk"), "parent"),
        ]
        assert image.metadata["chain"] == (
            {"path": str(tmp_path / "disk.vmdk"), "format": "vmdk", "size": SIZE, "content_id": "0000aaaa"},
        )
        assert image.metadata["container"]["parent_content_id"] == "0000aaaa"  # type: ignore[index]
    assert as_raw(pair, tmp_path) == child_media()


def test_the_map_is_that_of_both(pair: Path) -> None:
    with open_image(pair) as image:
        extents = list(image.data_extents())
    stored = {n for n in range(30) if any(BASE[n * GRAIN : (n + 1) * GRAIN])} - set(WIPED) | set(CHANGED)
    covered = {n for n in range(30) for extent in extents if extent.overlaps(Extent(n * GRAIN, GRAIN))}
    assert covered == stored
    assert sum(extent.length for extent in extents) == len(stored) * GRAIN


def test_as_qemu_makes_them(tmp_path: Path) -> None:
    (tmp_path / "base.raw").write_bytes(BASE)
    run("qemu-img", "convert", "-O", "vmdk", tmp_path / "base.raw", tmp_path / "a.vmdk")
    for child, parent in (("b.vmdk", "a.vmdk"), ("c.vmdk", "b.vmdk")):
        run(
            "qemu-img",
            "create",
            "-q",
            "-f",
            "vmdk",
            "-F",
            "vmdk",
            "-b",
            str(tmp_path / parent),
            tmp_path / child,
        )
        run(
            "qemu-io",
            "-f",
            "vmdk",
            "-c",
            f"write -P {ord(child[0])} {ord(child[0]) * 5000} 90000",
            tmp_path / child,
        )
    truth = as_raw(tmp_path / "c.vmdk", tmp_path)
    before = {path: trace(path) for path in tmp_path.iterdir()}
    with open_image(tmp_path / "c.vmdk") as image:
        assert bad_ranges(image, truth) == []
        assert [os.path.basename(segment.path) for segment in image.segments] == [
            "c.vmdk",
            "b.vmdk",
            "a.vmdk",
        ]
        assert len(image.metadata["chain"]) == 2  # type: ignore[arg-type]
    assert {path: trace(path) for path in before} == before


def test_a_child_that_is_larger_than_its_parent(tmp_path: Path) -> None:
    write_base(tmp_path / "disk.vmdk")
    write_child(tmp_path / "child.vmdk", "disk.vmdk", size=SIZE + 5 * GRAIN)
    with open_image(tmp_path / "child.vmdk") as image:
        assert bad_ranges(image, child_media() + bytes(5 * GRAIN)) == []


def test_damage_of_the_parent_is_the_childs(tmp_path: Path) -> None:
    text = make.descriptor([f'RW {SECTORS} SPARSE "disk.vmdk"'], cid="0000aaaa", kind="streamOptimized")
    layout = make.write_stream(tmp_path / "disk.vmdk", BASE, text=text)
    write_child(tmp_path / "child.vmdk", "disk.vmdk")
    hidden, seen = 3, max(layout.grains)
    assert hidden in layout.grains
    for number in (hidden, seen):
        make.flip(tmp_path / "disk.vmdk", layout.grains[number])
    with open_image(tmp_path / "child.vmdk") as image:
        assert bad_ranges(image, child_media()) == [(seen * GRAIN, GRAIN)]


def test_a_parent_that_is_absent(pair: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.vmdk").unlink()
    with pytest.raises(IncompleteChain, match=f"{pair} builds upon disk.vmdk, which is not there") as caught:
        open_image(pair)
    assert caught.value.hint


def test_a_parent_that_was_changed_since(pair: Path, tmp_path: Path) -> None:
    write_base(tmp_path / "disk.vmdk", cid="0000aaab")
    words = f"a parent with the CID 0000aaaa, and {tmp_path}/disk.vmdk has 0000aaab"
    with pytest.raises(IncompleteChain, match=re.escape(words)):
        open_image(pair)


def test_a_parent_that_is_no_vmdk(pair: Path, tmp_path: Path) -> None:
    (tmp_path / "disk.vmdk").write_bytes(BASE)
    with pytest.raises(IncompleteChain, match="which is raw and no VMDK"):
        open_image(pair)


def test_a_disk_that_is_its_own_parent(tmp_path: Path) -> None:
    write_child(tmp_path / "a.vmdk", "a.vmdk")
    with pytest.raises(IncompleteChain, match="builds upon itself"):
        open_image(tmp_path / "a.vmdk")
    write_child(tmp_path / "b.vmdk", "c.vmdk", parent="0000cccc")
    write_child(tmp_path / "c.vmdk", "b.vmdk", parent="0000bbbb", cid="0000cccc")
    with pytest.raises(IncompleteChain, match="builds upon itself"):
        open_image(tmp_path / "b.vmdk")


def test_no_descriptor_is_left_open(pair: Path, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    write_base(tmp_path / "disk.vmdk", cid="0000aaab")
    for _ in range(5):
        with pytest.raises(IncompleteChain):
            open_image(pair)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "hint", ["/vms/of/another/host/disk.vmdk", "C:\\VMs\\base\\disk.vmdk", "../gone/disk.vmdk"]
)
def test_a_parent_elsewhere_is_looked_for_beside_the_child(tmp_path: Path, hint: str) -> None:
    write_base(tmp_path / "disk.vmdk")
    write_child(tmp_path / "child.vmdk", hint.replace("\\", "\\"))
    with open_image(tmp_path / "child.vmdk") as image:
        assert image.read_at(0, SIZE) == child_media()


def test_a_linked_clone_names_its_parent_by_path(tmp_path: Path) -> None:
    for name in ("base", "clone"):
        (tmp_path / name).mkdir()
    write_base(tmp_path / "base" / "disk.vmdk")
    for hint in (str(tmp_path / "base" / "disk.vmdk"), "../base/disk.vmdk"):
        write_child(tmp_path / "clone" / "disk.vmdk", hint)
        with open_image(tmp_path / "clone" / "disk.vmdk") as image:
            assert image.read_at(0, SIZE) == child_media()


@pytest.mark.parametrize("hint", ["/etc/shadow", "/dev/zero", "/dev/sda", ".", "/", "fifo"])
def test_a_parent_that_is_no_image_of_anybody(tmp_path: Path, hint: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    write_child(tmp_path / "child.vmdk", hint)
    with pytest.raises(IncompleteChain):
        open_image(tmp_path / "child.vmdk")


def test_a_parent_without_a_name_or_a_number(tmp_path: Path) -> None:
    line = f'RW {SECTORS} SPARSE "disk.vmdk"'
    make.write_sparse(tmp_path / "disk.vmdk", BASE, text=make.descriptor([line], parent="0000aaaa"))
    with pytest.raises(IncompleteChain, match="does not name it"):
        open_image(tmp_path / "disk.vmdk")
    text = make.descriptor([line], hint="x.vmdk").replace(b"parentCID=ffffffff\n", b"")
    make.write_sparse(tmp_path / "disk.vmdk", BASE, text=text)
    with pytest.raises(CorruptImage, match="no parentCID"):
        open_image(tmp_path / "disk.vmdk")


def test_a_snapshot_in_extents(tmp_path: Path) -> None:
    """As ESX has them: descriptors beside a flat base and a delta of single sectors."""
    (tmp_path / "disk-flat.vmdk").write_bytes(BASE)
    base = make.descriptor([f'RW {SECTORS} VMFS "disk-flat.vmdk"'], kind="vmfs", cid="0000aaaa")
    (tmp_path / "disk.vmdk").write_bytes(base)
    delta = bytearray(SIZE)
    delta[5000 * 0 + 512 * 77 : 512 * 80] = b"\x33" * (512 * 3)
    make.write_cowd(tmp_path / "disk-000001-delta.vmdk", bytes(delta))
    line = f'RW {SECTORS} VMFSSPARSE "disk-000001-delta.vmdk"'
    text = make.descriptor([line], kind="vmfsSparse", cid="0000bbbb", parent="0000aaaa", hint="disk.vmdk")
    (tmp_path / "disk-000001.vmdk").write_bytes(text)
    truth = BASE[: 512 * 77] + b"\x33" * (512 * 3) + BASE[512 * 80 :]
    with open_image(tmp_path / "disk-000001.vmdk") as image:
        assert bad_ranges(image, truth) == []
        assert [segment.role for segment in image.segments] == ["descriptor", "segment", "parent", "parent"]
    assert as_raw(tmp_path / "disk-000001.vmdk", tmp_path) == truth


def test_a_folder_that_was_moved(pair: Path, tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    for path in (pair, tmp_path / "disk.vmdk"):
        shutil.move(path, tmp_path / "moved" / path.name)
    with open_image(tmp_path / "moved" / pair.name) as image:
        assert image.read_at(0, SIZE) == child_media()
