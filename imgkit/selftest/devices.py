"""One attach of a known image: read back byte for byte through the kernel, and gone afterwards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from imgkit.containers import open_image
from imgkit.image import Extent
from imgkit.selftest.answers import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_IMAGE = "gpt_ok"


def ask_attach(known: Mapping[str, Any], folder: str) -> Iterator[Answer]:
    """Attach partition 1 of a known image, compare every byte, try to write, detach."""
    name = "attach.read-back"
    if os.geteuid() != 0:
        yield Answer(name, ok=None, detail="needs root (CAP_SYS_ADMIN)")
        return
    if not os.path.exists("/dev/loop-control"):
        yield Answer(name, ok=None, detail="needs /dev/loop-control")
        return
    row = known["images"][_IMAGE]["partitions"][0]
    yield from _attach(os.path.join(folder, f"{_IMAGE}.img"), Extent(row["offset"], row["length"]))


def _attach(path: str, extent: Extent) -> Iterator[Answer]:
    from imgkit.attachment import attach  # noqa: PLC0415  (kernel interfaces, only where they are used)

    with open_image(path) as image:
        expected = image.read_at(extent.offset, extent.length)
        with attach(image, extent) as loop:
            device = loop.attachment.device
            seen = _read(device, extent.length + 1)
            refused = _write_is_refused(device)
        gone = not os.path.exists(f"/sys/block/{os.path.basename(device)}/loop")
    yield Answer("attach.read-back", ok=seen == expected, detail=f"{len(seen)} bytes of {device}")
    yield Answer("attach.write-refused", ok=refused, detail=f"a write to {device} as root")
    yield Answer("attach.released", ok=gone, detail=device)


def _read(device: str, length: int) -> bytes:
    with open(device, "rb", buffering=0) as file:
        pieces = []
        while piece := file.read(length):
            pieces.append(piece)
    return b"".join(pieces)


def _write_is_refused(device: str) -> bool:
    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.pwrite(fd, bytes(512), 0)
        os.fsync(fd)
    except PermissionError:
        return True
    finally:
        os.close(fd)
    return False
