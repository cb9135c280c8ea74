"""What ewf_writer.py writes is what others read: libewf of two ages is the judge."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyewf  # type: ignore[import-not-found]  # a compiled library without types
import pytest

from tests.containers.ewf_sparse import write_sparse_ewf
from tests.containers.ewf_writer import DESCRIPTOR, HEADER_ENCASE1, TABLE_HEADER, Recipe, write_ewf
from tests.containers.fuzz_samples import media

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.containers.ewf_writer import Layout

SMALL = Recipe(
    sectors_per_chunk=16, chunks_per_segment=20, chunks_per_table=7, store=("zlib6", "stored", "zlib1")
)
HEADER2 = "1\nmain\na\tc\tn\te\tt\tav\tov\tm\tu\tp\nd\tc\tn\te\tt\t7\tW\t1142163845\t1142163845\t\n\n"
RECIPES = {
    "one segment": replace(SMALL, chunks_per_segment=1000, chunks_per_table=1000),
    "four segments, both digests": replace(SMALL, stored_sha1=True, header2=HEADER2),
    "base offsets": replace(SMALL, base_offsets=True),
    "stored": replace(SMALL, store=("stored",)),
    "zlib without compression": replace(SMALL, store=("zlib0",)),
    "smart": replace(SMALL, flavour="smart", chunks_per_table=16375, store=("zlib1", "zlib0")),
    "encase 1": replace(SMALL, flavour="encase1", chunks_per_table=16375, header=HEADER_ENCASE1),
    "optical": replace(SMALL, bytes_per_sector=2048, media_type=3, sessions=((0, 16), (1, 40))),
    "errors": replace(SMALL, errors=((5, 2), (40, 1))),
    "ends as EnCase writes them": replace(SMALL, next_size=0),
    "lower case": replace(SMALL, upper=False),
    "without digests": replace(SMALL, stored_md5=False),
    "past .E99": replace(SMALL, chunks_per_segment=1),
}


@contextlib.contextmanager
def witness(paths: list[Path]) -> Iterator[Any]:
    handle = pyewf.handle()
    handle.open([str(path) for path in paths])
    yield handle
    handle.close()


def truth_of(recipe: Recipe) -> bytes:
    return media(120, recipe.chunk_size)[: -recipe.bytes_per_sector]


@pytest.mark.parametrize("name", RECIPES)
def test_libewf_accepts_what_is_written(tmp_path: Path, name: str) -> None:
    recipe = RECIPES[name]
    truth = truth_of(recipe)
    layout = write_ewf(tmp_path, truth, recipe)
    with witness(layout.paths) as handle:
        assert handle.get_media_size() == len(truth)
        assert handle.read_buffer(len(truth)) == truth
    if recipe.stored_md5:  # without one ewfverify has nothing to compare
        done = subprocess.run(
            ["ewfverify", "-q", str(layout.paths[0])], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
    check_layout(layout, truth)


def check_layout(layout: Layout, truth: bytes) -> None:
    """The layout says where things are in the files."""
    files = [path.read_bytes() for path in layout.paths]
    for section in layout.sections:
        assert files[section.segment][section.offset :].startswith(section.type.encode())
        assert section.payload == section.offset + DESCRIPTOR
    base = layout.recipe.base_offsets
    for chunk in layout.chunks:
        stored = files[chunk.segment][chunk.offset : chunk.offset + chunk.size]
        assert (
            chunk.compressed or stored[:-4] == truth[chunk.media_offset : chunk.media_offset + chunk.length]
        )
        entry = int.from_bytes(files[chunk.segment][chunk.entry : chunk.entry + 4], "little")
        assert entry >> 31 == chunk.compressed
        assert base or entry & 0x7FFFFFFF == chunk.offset
    first = layout.find("table")
    assert layout.chunks[0].entry == first.payload + TABLE_HEADER
    assert sum(layout.media_range(segment)[1] for segment in range(len(files))) == len(truth)


def test_the_writer_takes_media_from_a_callable(tmp_path: Path) -> None:
    truth = truth_of(SMALL)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = write_ewf(tmp_path / "a", truth, SMALL)
    two = write_ewf(tmp_path / "b", lambda at, length: truth[at : at + length], SMALL, size=len(truth))
    assert [path.read_bytes() for path in one.paths] == [path.read_bytes() for path in two.paths]


def test_libewf_opens_a_sparse_set(tmp_path: Path) -> None:
    paths = write_sparse_ewf(tmp_path, 40 * 10**9 + 512, 3)
    with witness(paths) as handle:
        assert handle.get_media_size() == 40 * 10**9 + 512
        assert handle.read_buffer_at_offset(1 << 20, 0) == bytes(1 << 20)
        assert handle.read_buffer_at_offset(1 << 20, 40 * 10**9 + 512 - (1 << 20)) == bytes(1 << 20)
    assert sum(path.stat().st_size for path in paths) > 40 * 10**9
    assert sum(path.stat().st_blocks * 512 for path in paths) < 4 << 20
