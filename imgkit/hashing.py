"""Digest, and every hash algorithm behind one hashlib-style interface."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from imgkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


class Hasher(Protocol):
    """What hashlib objects and blake3 have in common."""

    def update(self, data: memoryview, /) -> object:
        """Add bytes; releases the GIL for long buffers."""

    def digest(self) -> bytes:
        """Return the digest of all bytes so far."""

    def hexdigest(self) -> str:
        """Return the digest in lower-case hex."""


def _blake3() -> Hasher:
    from blake3 import blake3  # noqa: PLC0415  (a compiled library: loaded where it is used)

    hasher: Hasher = blake3(max_threads=blake3.AUTO)
    return hasher


def _hashlib(name: str) -> Callable[[], Hasher]:
    return lambda: hashlib.new(name, usedforsecurity=False)


# name -> (constructor, digest bytes). hashlib's fixed-length algorithms, and blake3 (32 bytes, its default).
HASH_ALGORITHMS: dict[str, tuple[Callable[[], Hasher], int]] = {
    name: (_hashlib(name), size)
    for name, size in (
        ("md5", 16),
        ("sha1", 20),
        ("sha224", 28),
        ("sha256", 32),
        ("sha384", 48),
        ("sha512", 64),
        ("sha512_224", 28),
        ("sha512_256", 32),
        ("sha3_224", 28),
        ("sha3_256", 32),
        ("sha3_384", 48),
        ("sha3_512", 64),
        ("blake2b", 64),
        ("blake2s", 32),
        ("ripemd160", 20),
        ("sm3", 32),
    )
    if name in hashlib.algorithms_available
} | {"blake3": (_blake3, 32)}

_HEX = re.compile(r"[0-9a-f]+")


def algorithm_name(text: str) -> str:
    """Return the key of HASH_ALGORITHMS that `text` means: `SHA-256`, `sha256` and `SHA256` are one.

    Raises:
        UsageError: No such algorithm.
    """
    plain = text.strip().lower().replace("-", "").replace("_", "").replace("/", "")
    for name in HASH_ALGORITHMS:
        if name.replace("_", "") == plain:
            return name
    raise UsageError(
        f"unknown hash algorithm {text!r}", hint="known are " + ", ".join(sorted(HASH_ALGORITHMS))
    )


@dataclass(frozen=True, slots=True)
class Digest:
    """An algorithm and its value; equality takes constant time.

    Attributes:
        algorithm: A key of HASH_ALGORITHMS.
        value: Lower-case hex of the algorithm's full length.
    """

    algorithm: str
    value: str

    def __post_init__(self) -> None:
        if self.algorithm not in HASH_ALGORITHMS:
            raise UsageError(f"unknown hash algorithm {self.algorithm!r}")
        expected = 2 * HASH_ALGORITHMS[self.algorithm][1]
        if len(self.value) != expected or not _HEX.fullmatch(self.value):
            raise UsageError(f"a {self.algorithm} digest has {expected} hex digits, not {self.value!r}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `sha256:<hex>`, in any case.

        Raises:
            UsageError: No colon, unknown algorithm, or a value of the wrong length.
        """
        name, colon, value = text.strip().partition(":")
        if not colon:
            raise UsageError(
                f"a digest is written ALGORITHM:HEX, not {text!r}", hint="for example sha256:9f86d0..."
            )
        return cls(algorithm_name(name), value.strip().lower())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Digest):
            return NotImplemented
        return self.algorithm == other.algorithm and hmac.compare_digest(self.value, other.value)

    def __hash__(self) -> int:
        return hash((self.algorithm, self.value))
