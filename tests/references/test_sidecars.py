"""What a file's name says: whose digests, one file's or many, which algorithm."""

from __future__ import annotations

import pytest

from imgkit.references.sidecars import algorithm_in_name, algorithm_of, is_list, owner_of

OWNED = [
    ("disk.dd.sha256", "disk.dd", "sha256"),
    ("disk.sha256", "disk", "sha256"),
    ("disk.dd.SHA256", "disk.dd", "sha256"),
    ("DISK.DD.MD5", "DISK.DD", "md5"),
    ("disk.dd.sha256sum", "disk.dd", "sha256"),
    ("disk.dd.sha256.txt", "disk.dd", "sha256"),
    ("disk.dd.md5.asc", "disk.dd", "md5"),
    ("disk.dd.sha-1", "disk.dd", "sha1"),
    ("disk.dd.b3", "disk.dd", "blake3"),
    ("disk.dd.blake3", "disk.dd", "blake3"),
    ("disk.dd.b3sum", "disk.dd", "blake3"),
    ("disk.dd.b2", "disk.dd", "blake2b"),
    ("disk.dd.sha3", "disk.dd", "sha3"),
    ("disk.dd.sha3-256", "disk.dd", "sha3_256"),
    ("disk.dd.sha512_256", "disk.dd", "sha512_256"),
    ("disk.dd.sha2", "disk.dd", None),
    ("disk.dd.rmd160", "disk.dd", "ripemd160"),
    ("disk.dd.hash", "disk.dd", None),
    ("disk.dd.hashes.txt", "disk.dd", None),
    ("disk.dd.hashdeep", "disk.dd", None),
    ("disk.dd.checksum", "disk.dd", None),
    ("disk.001.md5", "disk.001", "md5"),
    ("disk_sha256.txt", "disk", "sha256"),
    ("new\nline.dd.md5", "new\nline.dd", "md5"),
    ("sha1-collision.dd.sha256", "sha1-collision.dd", "sha256"),
]


@pytest.mark.parametrize(("name", "owner", "algorithm"), OWNED)
def test_sidecars(name: str, owner: str, algorithm: str | None) -> None:
    assert owner_of(name) == owner
    assert algorithm_in_name(name) == algorithm


LISTS = [
    ("SHA256SUMS", "sha256"),
    ("SHA256SUMS.txt", "sha256"),
    ("sha256sums", "sha256"),
    ("sha256sum.txt", "sha256"),
    ("MD5SUMS", "md5"),
    ("MD5SUM", "md5"),
    ("md5sums.txt", "md5"),
    ("SHA1SUMS", "sha1"),
    ("SHA512SUMS.asc", "sha512"),
    ("B3SUMS", "blake3"),
    ("BLAKE3SUMS", "blake3"),
    ("b3sums.txt", "blake3"),
    ("B2SUMS", "blake2b"),
    ("SHA3-256SUMS", "sha3_256"),
    ("case-42_SHA256SUMS", "sha256"),
    ("checksums.txt", None),
    ("CHECKSUM", None),
    ("CHECKSUMS", None),
    ("hashes.txt", None),
    ("hash.txt", None),
    ("Hashes.TXT", None),
    ("md5.txt", "md5"),
    ("sha256-checksums.txt", "sha256"),
    ("evidence-checksums.txt", None),
    ("digests.txt", None),
]


@pytest.mark.parametrize(("name", "algorithm"), LISTS)
def test_lists(name: str, algorithm: str | None) -> None:
    assert is_list(name)
    assert algorithm_in_name(name) == algorithm


@pytest.mark.parametrize(
    "name", ["disk.dd", "disk.txt", "notes.txt", "readme", "disk.dd.sig", "sha1-collision.dd", "md5", "summary.txt", ""]
)  # fmt: skip
def test_neither(name: str) -> None:
    assert owner_of(name) is None
    assert not is_list(name)


@pytest.mark.parametrize(
    ("said", "digits", "algorithm"),
    [
        (None, 32, "md5"),
        (None, 40, "sha1"),
        (None, 56, "sha224"),
        (None, 64, "sha256"),
        (None, 96, "sha384"),
        (None, 128, "sha512"),
        (None, 33, None),
        ("blake3", 64, "blake3"),
        ("sha3", 64, "sha3_256"),
        ("sha3", 128, "sha3_512"),
        ("sha3", 32, None),
        ("md5", 64, "md5"),
    ],
)
def test_the_length_counts_only_where_the_name_is_silent(
    said: str | None, digits: int, algorithm: str | None
) -> None:
    assert algorithm_of(said, digits) == algorithm


def test_a_hostile_name_takes_no_time() -> None:
    for unit in ("sha256", ".md5", "-", "sum", "hash", "a."):
        name = (unit * 255)[:255] + "!"
        assert owner_of(name) is None
        assert not is_list(name)
