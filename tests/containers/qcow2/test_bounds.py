"""Whatever the header claims: little memory, at once, and no more work than there are tables."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
import time
from array import array
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.containers.evidence_file import open_evidence
from imgkit.containers.qcow2.header import read_header
from imgkit.containers.qcow2.tables import ClusterMap
from imgkit.errors import ImageError
from tests.containers.qcow2.qemu import MIB, convert, create, io, l2_tables, mixed_media, poke

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ("2T", ()),
        ("1E", ("-o", "cluster_size=2M")),
        ("60P", ("-o", "cluster_size=2M")),
    ],
)
def test_empty_disk_answers_at_once(tmp_path: Path, size: str, options: tuple[str, ...]) -> None:
    path = create(tmp_path / "d.qcow2", size, *options)
    start = time.process_time()
    with open_image(path) as image:
        assert list(image.data_extents()) == []
        assert image.read_at(image.size - 10, 20) == bytes(10)
    assert time.process_time() - start < 1


def test_empty_l1_table_of_32_mib_answers_at_once(tmp_path: Path) -> None:
    path = large_l1(tmp_path, array("Q"))
    start = time.process_time()
    with open_image(path) as image:
        assert list(image.data_extents()) == []
        assert image.read_at(image.size - 10, 20) == bytes(10)
    assert time.process_time() - start < 1


def test_two_clusters_of_a_large_disk(tmp_path: Path) -> None:
    path = io(create(tmp_path / "d.qcow2", "2T"), "write -P 1 1M 64k", "write -P 2 1900G 64k")
    start = time.process_time()
    with open_image(path) as image:
        assert [(e.offset, e.length) for e in image.data_extents()] == [(MIB, 65536), (1900 << 30, 65536)]
        assert image.read_at((1900 << 30) - 1, 65538) == b"\0" + b"\2" * 65536 + b"\0"
    assert time.process_time() - start < 1


@pytest.mark.parametrize("options", ["cluster_size=64k", "cluster_size=64k,extended_l2=on"])
def test_neighbours_are_one_run(tmp_path: Path, options: str) -> None:
    """Eight GiB of clusters, one behind the other: not a step for each of them, whatever the entries look like."""
    path = create(tmp_path / "d.qcow2", "8G", "-o", f"preallocation=metadata,{options}")
    with closing(open_evidence(str(path))) as file:
        header = read_header(file)
        runs = list(ClusterMap(file, header).runs(0, header.size))
        assert [sum(run.length for run in runs), runs[-1].offset + runs[-1].length] == [8 << 30] * 2
        # A table describes 512 MiB, or half of that; QEMU puts the next one and a refcount block between the clusters.
        assert len(runs) <= 3 * header.l1_needed


def large_l1(tmp_path: Path, entries: array[int]) -> Path:
    """128 GiB in clusters of 512 bytes: an L1 table of 32 MiB, as large as it can be."""
    path = create(tmp_path / "d.qcow2", "1M", "-o", "cluster_size=512")
    table = path.stat().st_size + 511 & -512
    entries.byteswap()
    poke(path, table, entries.tobytes())
    with path.open("r+b") as file:
        file.truncate(table + (32 << 20))
    poke(path, 24, struct.pack(">Q", 128 << 30))
    poke(path, 36, struct.pack(">IQ", 4 << 20, table))
    return path


def test_l1_table_of_32_mib_without_a_hole(tmp_path: Path) -> None:
    """4 Mi entries that all lead somewhere, to tables that are not there: as large as it can be."""
    path = large_l1(tmp_path, array("Q", (1 << 63 | (entry << 40 | 0x200) for entry in range(1 << 16))) * 64)
    code = (
        "import sys, time\n"
        "from imgkit.containers import open_image\n"
        "with open_image(sys.argv[1]) as image:\n"
        "    print(sum(image._map._l1) > 0, next(image._map.runs(0, image.size)).kind.name)\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], time.process_time())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True)
    filled, kind, peak, seconds = done.stdout.split()
    assert (filled, kind) == ("True", "BAD")
    assert int(peak) << 10 < 200 * MIB
    assert float(seconds) < 5


def test_l1_table_must_lie_in_the_file(tmp_path: Path) -> None:
    """A header of 112 bytes cannot make us take 32 MiB."""
    path = tmp_path / "d.qcow2"
    path.write_bytes(create(tmp_path / "x.qcow2", "1M").read_bytes()[: 4 * 65536])
    poke(path, 24, struct.pack(">Q", 1 << 50))
    poke(path, 36, struct.pack(">I", 4 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError):
        open_image(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 << 10


def test_few_tables_are_kept(tmp_path: Path) -> None:
    """Reads all over a disk whose tables are larger, together, than what is kept; and again, from the tables anew."""
    path = create(tmp_path / "d.qcow2", "600M", "-o", "cluster_size=4k")
    io(path, *(f"write -P {number} {number * 2 + 1}M 4k" for number in range(1, 256)))
    assert sum(map(bool, l2_tables(path))) == 255
    with open_image(path) as image:
        image._map._room = 4  # type: ignore[attr-defined]
        for _ in range(2):
            for number in range(1, 256):
                assert image.read_at((number * 2 + 1) * MIB, 4096) == bytes([number]) * 4096
        assert len(image._map._kept) == 4  # type: ignore[attr-defined]


def test_few_clusters_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "source.raw"
    source.write_bytes(mixed_media(4 * MIB))
    path = convert(source, tmp_path / "d.qcow2", "-c")
    media = source.read_bytes()
    with open_image(path) as image:
        image._compressed._room = 3  # type: ignore[attr-defined]
        for offset in range(0, 4 * MIB, 4096):
            assert image.read_at(offset, 4096) == media[offset : offset + 4096]
        assert len(image._compressed._kept) <= 3  # type: ignore[attr-defined]
