"""Every hash algorithm over known strings, and over the known images in one read, as `hash` and `verify` do it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from imgkit.containers import open_image
from imgkit.hashing import HASH_ALGORITHMS, hash_range
from imgkit.selftest.answers import Answer, compared, known_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def ask_hashes(known: Mapping[str, Any], folder: str) -> Iterator[Answer]:
    """One answer for each algorithm, and one for each image."""
    for algorithm in HASH_ALGORITHMS:
        yield _strings(algorithm, known["strings"])
    for name, entry in known["images"].items():
        yield _image(name, entry["digests"], folder)


def _strings(algorithm: str, strings: list[Mapping[str, Any]]) -> Answer:
    name = f"hash.{algorithm}"
    if any(algorithm not in entry["digests"] for entry in strings):
        return Answer(name, ok=None, detail="no known answer for this algorithm")
    expected = [entry["digests"][algorithm] for entry in strings]
    return compared(
        name, expected, [_of(algorithm, entry["text"]) for entry in strings], f"{len(strings)} strings"
    )


def _of(algorithm: str, text: str) -> str:
    hasher = HASH_ALGORITHMS[algorithm][0]()
    hasher.update(memoryview(text.encode()))
    return hasher.hexdigest()


def _image(name: str, digests: Mapping[str, str], folder: str) -> Answer:
    path = os.path.join(folder, f"{name}.img")
    with open(path, "wb") as file:
        file.write(known_image(name))
    expected = {algorithm: value for algorithm, value in digests.items() if algorithm in HASH_ALGORITHMS}
    with open_image(path) as image:
        done = hash_range(image, 0, image.size, algorithms=list(expected))
    actual = {digest.algorithm: digest.value for digest in done.digests}
    return compared(
        f"image.{name}", expected, actual, f"{len(expected)} digests in one read of {done.length} bytes"
    )
