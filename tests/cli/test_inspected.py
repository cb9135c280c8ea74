"""What info and partitions say and record of a table: sector sizes and where they come from, numbers, file systems, gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import unpacked

if TYPE_CHECKING:
    from tests.cli.running import Imgkit

MIB = 1 << 20


def recorded(imgkit: Imgkit) -> dict[str, Any]:
    data: dict[str, Any] = imgkit.records()[-1]["data"]
    return data


def test_numbers_are_numbers(imgkit: Imgkit, gpt_disk: str) -> None:
    for command in ("partitions", "info"):
        imgkit(command, gpt_disk).ended(0)
        data = recorded(imgkit)
        assert [(item["offset"], item["length"]) for item in data["partitions"]] == [
            (MIB, MIB),
            (2 * MIB, MIB),
        ]


def test_a_number_that_readers_would_round_is_a_string(imgkit: Imgkit) -> None:
    from imgkit.examination.inspecting import table_record
    from imgkit.image import Extent
    from imgkit.partitions.table import Partition, PartitionTable

    huge, exact = Extent(2**53, 2**60), Extent(0, 2**53 - 1)
    parts = (Partition(1, 0, huge, "0x83"), Partition(2, 1, exact, "0x83"))
    record = table_record(PartitionTable("gpt", 512, parts, gaps=(huge,)))
    assert [item["offset"] for item in record["partitions"]] == [str(2**53), 0]
    assert [item["length"] for item in record["partitions"]] == [str(2**60), 2**53 - 1]
    assert record["gaps"] == [{"offset": str(2**53), "length": str(2**60)}]


def test_what_evidence_was_read_for_is_recorded(imgkit: Imgkit, gpt_disk: str) -> None:
    document = imgkit("partitions", gpt_disk, "--json").ended(0).json
    data = recorded(imgkit)
    assert data["gaps"] == document["gaps"] != []
    said = [item["filesystem"] for item in document["partitions"]]
    assert (
        [item["filesystem"]["type"] for item in data["partitions"]]
        == [item["type"] for item in said]
        == ["ext2", "vfat"]
    )
    imgkit("info", gpt_disk).ended(0)
    assert all("filesystem" not in item for item in recorded(imgkit)["partitions"])


@pytest.mark.parametrize(
    ("fixture", "size", "source"),
    [("gpt_ok", 512, "partition table"), ("gpt_4096", 4096, "guessed"), (None, None, None)],
)
def test_the_sector_size_says_where_it_comes_from(
    imgkit: Imgkit, fixture: str | None, size: int | None, source: str | None
) -> None:
    disk = unpacked(imgkit, f"{fixture}.img.gz") if fixture else imgkit.image().name
    document = imgkit("info", disk, "--json").ended(0).json
    assert (document["sector_size"], document["sector_size_source"]) == (size, source)
    assert document["image"]["sector_size"] is None  # what the container states
    shown = imgkit("info", disk).ended(0).out
    assert (f"{size} bytes ({source})" if size else "not stated") in shown
    document = imgkit("info", disk, "--sector-size", "2048", "--json").ended(0).json
    assert (document["sector_size"], document["sector_size_source"]) == (2048, "stated by the user")
