"""What cannot be read keeps from an answer only where a table could be there, whatever the media is stored in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.errors import PartitionError
from imgkit.partitions import read_partition_table
from tests.containers.ewf_writer import Recipe, write_ewf
from tests.containers.sets import media
from tests.partitions.disks import codes

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 32768
CHUNKS = 160  # 5 MiB


def without_table(tmp_path: Path, bad: int) -> Path:
    """Noise, in an E01 in which one chunk is damaged."""
    layout = write_ewf(tmp_path, bytes(CHUNK) + media((CHUNKS - 1) * CHUNK), Recipe())
    place = layout.chunks_of(0)[bad].offset + 5
    with layout.paths[0].open("r+b") as file:
        file.seek(place)
        was = file.read(1)
        file.seek(place)
        file.write(bytes([was[0] ^ 0xFF]))
    return layout.paths[0]


@pytest.mark.parametrize("bad", [20, 40, 64, 130, CHUNKS - 20])
def test_a_damaged_chunk_where_no_table_can_be(tmp_path: Path, bad: int) -> None:
    with open_image(without_table(tmp_path, bad)) as image:
        table = read_partition_table(image)
    assert table.scheme == "none"
    assert "media.unreadable" not in codes(table)


@pytest.mark.parametrize("bad", [0, CHUNKS - 1])
def test_a_damaged_chunk_where_one_could_be(tmp_path: Path, bad: int) -> None:
    with (
        open_image(without_table(tmp_path, bad)) as image,
        pytest.raises(PartitionError, match="cannot tell whether"),
    ):
        read_partition_table(image)
