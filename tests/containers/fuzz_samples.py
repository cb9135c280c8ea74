"""What the fuzzer mutates: small images of each format, what they hold, and where their structure lies."""

from __future__ import annotations

import random
import subprocess
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from tests.containers.ewf_writer import DESCRIPTOR, FILE_HEADER, TABLE_HEADER, Recipe, write_ewf
from tests.containers.vmdk import make as vmdk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.containers.ewf_writer import Layout, Section


class Guard(NamedTuple):
    """Bytes [start, end) of a file and the little-endian Adler-32 behind them, at `at`."""

    file: int
    start: int
    end: int
    at: int

    def renew(self, data: bytearray) -> None:
        """Make the checksum right again."""
        data[self.at : self.at + 4] = zlib.adler32(data[self.start : self.end]).to_bytes(4, "little")


@dataclass(frozen=True)
class Sample:
    """An image to mutate.

    Attributes:
        paths: Its files; a mutation changes one of them, or two against each other.
        truth: The media, where the format guards it by checksums: then no other byte may ever be served.
        hot: (file, start, end) of what is structure; most mutations lie there.
        guards: Checksums that a mutation may make right again, so that what it did is looked at.
    """

    paths: list[Path]
    truth: bytes | None
    hot: list[tuple[int, int, int]]
    guards: list[Guard]


def media(chunks: int, size: int) -> bytes:
    """Text and noise in turn, no two chunks alike."""
    rng = random.Random(3)
    parts = [
        rng.randbytes(size) if number % 2 else (b"fuzz %05d " % number * size)[:size]
        for number in range(chunks)
    ]
    return b"".join(parts)[: -size // 2]


def ewf_samples(folder: Path) -> list[Sample]:
    """EnCase with two tables in each of four segments, one with base offsets, SMART, EnCase 1, one segment with all extras."""
    small = Recipe(sectors_per_chunk=4, chunks_per_segment=12, chunks_per_table=7, store=("zlib6", "stored"))
    extras = {"stored_sha1": True, "sessions": ((0, 16), (1, 40)), "errors": ((3, 2), (9, 1))}
    header2 = "1\nmain\na\tc\tm\tp\nd\tc\t1142163845\t\n\n"
    recipes = [
        replace(small, header2=header2, stored_sha1=True),
        replace(small, base_offsets=True, next_size=0, fill=5),
        replace(small, flavour="smart", store=("zlib1", "zlib0")),
        replace(small, flavour="encase1"),
        replace(small, chunks_per_segment=99, xheader="<xheader><notes>n</notes></xheader>", **extras),  # type: ignore[arg-type]
        replace(small, table2=False),
    ]
    samples = []
    for number, recipe in enumerate(recipes):
        place = folder / str(number)
        place.mkdir()
        truth = media(44, recipe.chunk_size)
        layout = write_ewf(place, truth, recipe)
        samples.append(Sample(layout.paths, truth, _ewf_hot(layout), _ewf_guards(layout)))
    return samples


def _ewf_hot(layout: Layout) -> list[tuple[int, int, int]]:
    """Everything but the chunks."""
    hot = [(number, 0, FILE_HEADER) for number in range(len(layout.paths))]
    for section in layout.sections:
        inline = section.type == "table" and layout.recipe.flavour != "encase"
        end = section.payload + 70 if inline else section.end
        hot.append((section.segment, section.offset, section.payload if section.type == "sectors" else end))
    return hot


def _ewf_guards(layout: Layout) -> list[Guard]:
    guards = []
    for section in layout.sections:
        guards.append(Guard(section.segment, section.offset, section.payload - 4, section.payload - 4))
        guards += _payload_guards(layout, section)
    return guards


def _payload_guards(layout: Layout, section: Section) -> list[Guard]:
    segment, start, end = section.segment, section.payload, section.end
    if section.type in {"volume", "data", "hash", "digest"}:
        return [Guard(segment, start, end - 4, end - 4)]
    if section.type in {"error2", "session"}:
        header = start + (520 if section.type == "error2" else 36)
        return [Guard(segment, start, header - 4, header - 4), Guard(segment, header, end - 4, end - 4)]
    if section.type in {"table", "table2"}:
        entries = start + TABLE_HEADER
        guards = [Guard(segment, start, entries - 4, entries - 4)]
        if layout.recipe.flavour == "encase":
            guards.append(Guard(segment, entries, end - 4, end - 4))
        return guards
    assert section.size == DESCRIPTOR or section.type in {"header", "header2", "xheader", "sectors"}
    return []


def qemu_samples(name: str, *options: str) -> Callable[[Path], list[Sample]]:
    """What qemu-img makes of a sparse disk; each option string is one sample."""

    def make(folder: Path) -> list[Sample]:
        raw = folder / "raw"
        raw.write_bytes(media(6, 65536) + bytes(1 << 20) + b"end" * 21845 + b"\0")
        return [_converted(folder, raw, name, number, text.split()) for number, text in enumerate(options)]

    return make


def _converted(folder: Path, raw: Path, name: str, number: int, options: list[str]) -> Sample:
    place = folder / str(number)
    place.mkdir()
    target = place / f"disk.{name}"
    subprocess.run(
        ["qemu-img", "convert", "-O", name, *options, str(raw), str(target)], check=True, capture_output=True
    )
    paths = [target, *sorted(path for path in place.iterdir() if path != target)]
    hot = []
    for index, path in enumerate(paths):
        size = path.stat().st_size
        hot += [
            (index, 0, min(4096, size)),
            (index, max(0, size - 1536), size),
            (index, 0, min(1 << 18, size)),
        ]
    return Sample(paths, None, hot, [])


def vmdk_stream(path: Path) -> Sample:
    """As VMware exports a disk: every grain has a checksum, and the grains witness their table."""
    truth = media(8, 65536)
    text = vmdk.descriptor([f'RW {len(truth) // 512} SPARSE "stream.vmdk"'], kind="streamOptimized")
    layout = vmdk.write_stream(path, truth, text=text)
    size = path.stat().st_size
    hot = [(0, 0, 512), (0, 512, 1024), (0, layout.entries[0], layout.entries[8]), (0, size - 2048, size)]
    hot += [(0, place, place + 16) for place in layout.grains.values()]
    return Sample([path], truth, hot, [])


# Format -> what makes its samples; a new format adds a row.
SAMPLES: dict[str, Callable[[Path], list[Sample]]] = {
    "ewf": ewf_samples,
    "qcow2": qemu_samples(
        "qcow2",
        "-o compat=0.10",
        "-o compat=1.1",
        "-c",
        "-c -o compression_type=zstd",
        "-o extended_l2=on,cluster_size=16k",
    ),
    "vmdk": lambda folder: [
        *qemu_samples(
            "vmdk",
            "",
            "-o subformat=streamOptimized",
            "-o subformat=twoGbMaxExtentSparse",
            "-o subformat=monolithicFlat",
        )(folder),
        vmdk_stream(folder / "stream.vmdk"),
    ],
    "vhd": qemu_samples("vpc", "-o subformat=dynamic", "-o subformat=fixed"),
    "vhdx": qemu_samples("vhdx", "-o subformat=dynamic", "-o subformat=fixed"),
}
