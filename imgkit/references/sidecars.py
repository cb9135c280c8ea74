"""Which files state digests, told by their names: `disk.dd.sha256`, `disk.md5`, `SHA256SUMS`, `checksums.txt`.

The name says whose digest a bare one is, and which algorithm's where the length alone does not.
"""

from __future__ import annotations

import re

_ALGORITHM = (
    r"md5|sha-?1|sha-?512[-_](?:224|256)|sha3[-_](?:224|256|384|512)|sha-?(?:224|256|384|512)|sha[23]|"
    r"b3|blake3|b2|blake2[bs]|sm3|ripemd-?160|rmd-?160"
)
_WORD = r"hash(?:es|deep)?|check-?sums?|sums?|digests?"
_TEXT = r"(?:\.txt|\.asc)?"
# disk.dd.sha256, disk.dd.sha256sum, disk.dd.sha256.txt, disk.dd.hashes.txt; and disk_sha256.txt with a text's ending only.
_SIDECAR = re.compile(
    rf"(?P<owner>.+)(?:\.(?:(?P<algorithm>{_ALGORITHM})(?:sums?|deep)?|{_WORD}){_TEXT}"
    rf"|[-_](?P<algorithm2>{_ALGORITHM})\.(?:txt|asc))",
    re.IGNORECASE | re.DOTALL,
)
# SHA256SUMS, sha256sum.txt, md5.txt, CHECKSUM, my-checksums.txt, 2026_MD5SUMS.
_LIST = re.compile(
    rf"(?:.*?[-_. ])??(?:(?P<algorithm>{_ALGORITHM})?[-_. ]?(?:{_WORD})|(?P<algorithm2>{_ALGORITHM})\.txt){_TEXT}",
    re.IGNORECASE | re.DOTALL,
)
_SHORT = {"b3": "blake3", "b2": "blake2b", "rmd160": "ripemd160", "sha2": None}
_BY_LENGTH = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_SHA3_BY_LENGTH = {56: "sha3_224", 64: "sha3_256", 96: "sha3_384", 128: "sha3_512"}


def owner_of(file_name: str) -> str | None:
    """Return the name of the file that `file_name` is a sidecar of: `disk.dd` of `disk.dd.sha256`; None of a list."""
    match = _SIDECAR.fullmatch(file_name)
    return None if match is None else match["owner"]


def is_list(file_name: str) -> bool:
    """Whether a file of this name states the digests of several files: `SHA256SUMS`, `hashes.txt`."""
    return _LIST.fullmatch(file_name) is not None


def algorithm_in_name(file_name: str) -> str | None:
    """Return the algorithm that the name of a sidecar or list says (`sha3` where it leaves the length open), or None."""
    match = _SIDECAR.fullmatch(file_name) or _LIST.fullmatch(file_name)
    found = match and (match["algorithm"] or match["algorithm2"])
    if not found:
        return None
    name = re.sub(r"^(sha|ripemd|rmd)-", r"\1", found.lower()).replace("-", "_")
    return _SHORT.get(name, name)


def algorithm_of(said: str | None, hex_digits: int) -> str | None:
    """Return the algorithm of a digest whose line names none: what the file's name said, else what the length says."""
    if said == "sha3":
        return _SHA3_BY_LENGTH.get(hex_digits)
    return said or _BY_LENGTH.get(hex_digits)
