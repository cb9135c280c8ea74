"""The known media out of every container: the same bytes, all of them there, and a damaged one refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from imgkit.containers import open_image
from imgkit.errors import ImageError, ImgkitError, MissingSegment
from imgkit.hashing import hash_range
from imgkit.selftest.answers import Answer, compared, known_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MEDIA = "gpt_ok"
# format -> its files, the one to open first
FILES = {
    "ewf": (f"{MEDIA}.E01", f"{MEDIA}.E02"),
    "qcow2": (f"{MEDIA}.qcow2",),
    "vmdk": (f"{MEDIA}.vmdk",),
    "vhd": (f"{MEDIA}.vhd",),
    "vhdx": (f"{MEDIA}.vhdx",),
}


def ask_containers(known: Mapping[str, Any], folder: str) -> Iterator[Answer]:
    """One answer for each container, and two for what must not be served: a damaged chunk, a set that is not whole."""
    expected = known["images"][MEDIA]["digests"]
    for name, files in FILES.items():
        for file in files:
            _write(folder, file, known_file(file))
        try:
            yield _media(name, os.path.join(folder, files[0]), expected)
        except ImgkitError as error:
            yield Answer(f"container.{name}", ok=False, detail=str(error))
    yield _damaged(folder)
    yield _incomplete(folder)


def _write(folder: str, name: str, content: bytes) -> None:
    with open(os.path.join(folder, name), "wb") as file:
        file.write(content)


def _media(name: str, path: str, digests: Mapping[str, str]) -> Answer:
    with open_image(path) as image:
        done = hash_range(image, 0, image.size, algorithms=["md5", "sha1", "sha256"])
        stored = {digest.algorithm: digest.value for digest in image.stored_digests}
    actual = (image.format, {digest.algorithm: digest.value for digest in done.digests}, stored)
    wanted = {algorithm: digests[algorithm] for algorithm in ("md5", "sha1", "sha256")}
    states = {algorithm: digests[algorithm] for algorithm in stored}
    return compared(f"container.{name}", (name, wanted, states), actual, f"{done.length} bytes of media")


def _damaged(folder: str) -> Answer:
    """One bit of a stored chunk of the second segment: the read names it, and no digest is given."""
    first, second = FILES["ewf"]
    content = bytearray(known_file(second))
    content[len(content) // 2] ^= 1  # segment 2 is nearly all one stored chunk
    _write(folder, second, bytes(content))
    name, what = "container.ewf-damaged", "one bit flipped"
    try:
        with open_image(os.path.join(folder, first)) as image:
            done = hash_range(image, 0, image.size, algorithms=["md5"])
    except ImageError as error:
        return Answer(name, ok=False, detail=f"{what}: not opened at all: {error}")
    return compared(name, (True, ()), (len(done.read_errors) == 1, done.digests), what)


def _incomplete(folder: str) -> Answer:
    first, second = FILES["ewf"]
    os.unlink(os.path.join(folder, second))
    name = "container.ewf-incomplete"
    try:
        open_image(os.path.join(folder, first)).close()
    except MissingSegment as error:
        return Answer(name, ok=True, detail=f"refused: {error.kind}")
    return Answer(name, ok=False, detail=f"opened without {second}")
