"""Others that read VHD and VHDX: libvhdi, which imgkit does not use, and qemu-img."""

from __future__ import annotations

import random
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import pyvhdi  # type: ignore[import-not-found]

from imgkit.containers.evidence_file import open_evidence
from tests.containers.file_object import FileObject

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgkit.image import Image


_PIECE = 4096


def by_libvhdi(*chain: Path, most: int = 1 << 40) -> bytes:
    """The media of the first file, over its parents; `most` bytes of it."""
    files = [open_evidence(str(path)) for path in chain]
    opened = []
    for file in files:
        handle = pyvhdi.file()
        handle.open_file_object(FileObject(file))
        opened.append(handle)
    for child, parent in pairwise(opened):
        child.set_parent(parent)
    try:
        size = min(most, opened[0].get_media_size())
        # In one read over several blocks of a differencing disk, libvhdi 20260901 gives some of them wrong.
        pieces = (
            opened[0].read_buffer_at_offset(min(_PIECE, size - offset), offset)
            for offset in range(0, size, _PIECE)
        )
        return b"".join(pieces)
    finally:
        for handle in opened:
            handle.close()
        for file in files:
            file.close()


def by_qemu(path: Path, target: Path, kind: str) -> bytes:
    """The media by qemu-img convert."""
    driver = f"driver={kind},file.driver=file,file.filename={path}"
    if kind == "vpc":
        driver += ",force_size_calc=current_size"
    command = ["qemu-img", "convert", "--image-opts", "-O", "raw", driver, str(target)]
    subprocess.run(command, check=True, capture_output=True)
    return target.read_bytes()


def read_by_many(image: Image, media: bytes, *, border: int, seed: int = 1) -> None:
    """8 threads at once read at random places, half of them around the borders of blocks."""
    wrong: list[tuple[int, int]] = []
    ready = threading.Barrier(8)

    def work(number: int) -> None:
        rng = random.Random(seed * 100 + number)
        ready.wait()
        for _ in range(40):
            offset = rng.randrange(len(media))
            if rng.random() < 0.5:
                offset = max(0, offset // border * border - rng.randrange(1, 3 * 512))
            length = rng.choice([1, 512, 4096, border, 3 * border + 7])
            if image.read_at(offset, length) != media[offset : offset + length]:
                wrong.append((offset, length))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert wrong == []


def mapped(image: Image) -> bytes:
    """The media by the image's own map: what it calls a hole is zeros."""
    media = bytearray(image.size)
    position = 0
    for extent in image.data_extents():
        assert position <= extent.offset
        assert extent.length > 0
        assert extent.end <= image.size
        media[extent.offset : extent.end] = image.read_at(extent.offset, extent.length)
        position = extent.end + 1  # neighbours are one extent
    return bytes(media)


def open_ranges(image: Image) -> Sequence[tuple[int, int]]:
    return [(extent.offset, extent.length) for extent in image.data_extents()]
