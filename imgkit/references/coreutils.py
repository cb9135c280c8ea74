"""Checksum lines of coreutils, b3sum, md5deep, BSD and OpenSSL: read, and the two forms that `sha256sum -c` takes: written.

https://www.gnu.org/software/coreutils/manual/html_node/md5sum-invocation.html; a name with a backslash, newline or carriage
return is escaped and its line begins with a backslash. Text that is no UTF-8 is kept by surrogate escapes, as os.fsdecode does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgkit.errors import UsageError
from imgkit.hashing import Digest, algorithm_name
from imgkit.references.reference import Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Tags as coreutils, BSD and OpenSSL write them; those that are the name in capitals are not listed.
_TAGS = {
    "sha512_224": "SHA512/224",
    "sha512_256": "SHA512/256",
    "sha3_224": "SHA3-224",
    "sha3_256": "SHA3-256",
    "sha3_384": "SHA3-384",
    "sha3_512": "SHA3-512",
    "blake2b": "BLAKE2b",
    "blake2s": "BLAKE2s",
    "ripemd160": "RMD160",
}
_ALIASES = {"rmd160": "ripemd160", "blake2b512": "blake2b", "blake2s256": "blake2s"}
_FAMILY = re.compile(r"sha2[-_ ](?=\d)")  # OpenSSL 3 says SHA2-256
_LONGEST = 16384  # characters of a line: the longest path, escaped, and a digest

# `(?s:.)`: a name may hold any character but the one that ends the line.
_TAGGED = re.compile(r"(\\?)([A-Za-z0-9/_-]{2,16}) ?\(((?s:.)*)\) ?= ?([0-9A-Fa-f]{32,128})\s*")
_HASH_FIRST = re.compile(r"(\\?)(?:\s*[0-9]{1,20}  )?([0-9A-Fa-f]{32,128})(?: [ *]|[\t ]+\*?)((?s:.)+)")
_LABELLED = re.compile(
    r"\s*([A-Za-z0-9/_-]{2,16})(?: ?[:=]\s*|\s+)([0-9A-Fa-f]{32,128})(?:[\t ]+(\S(?s:.)*))?\s*"
)
_BARE = re.compile(r"\s*([0-9A-Fa-f]{32,128})\s*")
_STDIN = {"-", "*-"}
_TAGGED_STDIN = {"-", "stdin"}  # the latter is OpenSSL's
_UNESCAPED = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
_ESCAPE = re.compile(r"\\(?s:.)|\\$")


def read(lines: Iterable[tuple[int, str]], algorithm_of: Callable[[int], str | None]) -> Iterator[Statement]:
    """Yield what the lines state; a line that states nothing is passed over.

    Args:
        lines: (number from 1, text without its line end).
        algorithm_of: Number of hex digits -> the algorithm of a digest whose line does not name one, or None.
    """
    for number, text in lines:
        if len(text) <= _LONGEST and not text.startswith("#"):
            found = _read_line(text.removesuffix("\r"), algorithm_of)
            if found is not None:
                yield Statement(found[0], found[1], number)


def _read_line(text: str, algorithm_of: Callable[[int], str | None]) -> tuple[Digest, str | None] | None:
    if match := _TAGGED.fullmatch(text):
        escaped, tag, name, value = match.groups()
        name = "-" if name in _TAGGED_STDIN else name
        return _stated(_algorithm_of_tag(tag), value, _name(name, escaped=bool(escaped)))
    if match := _BARE.fullmatch(text):
        return _stated(algorithm_of(len(match[1])), match[1], None)
    if match := _HASH_FIRST.fullmatch(text):
        escaped, value, name = match.groups()
        return _stated(algorithm_of(len(value)), value, _name(name, escaped=bool(escaped)))
    if match := _LABELLED.fullmatch(text):
        tag, value, name = match.groups()
        return _stated(_algorithm_of_tag(tag), value, _name(name, escaped=False))
    return None


def _stated(algorithm: str | None, value: str, name: str | None) -> tuple[Digest, str | None] | None:
    if algorithm is None or name == "":
        return None
    try:
        return Digest(algorithm, value.lower()), name
    except UsageError:
        return None  # cut short, or not of the algorithm that the line names


def _name(text: str | None, *, escaped: bool) -> str | None:
    """Return the name, None where the digest is of standard input, empty where the escape is none we know."""
    if text is None or text in _STDIN:
        return None
    if not escaped:
        return text
    unknown = [found for found in _ESCAPE.findall(text) if found not in _UNESCAPED]
    return "" if unknown else _ESCAPE.sub(lambda found: _UNESCAPED[found[0]], text)


def _algorithm_of_tag(tag: str) -> str | None:
    plain = _FAMILY.sub("sha", tag.lower())
    try:
        return algorithm_name(_ALIASES.get(plain.replace("-", ""), plain))
    except UsageError:
        return None


def gnu_line(digest: Digest, name: str) -> str:
    """Return `hex  name`, which `sha256sum -c` or `b3sum -c` takes, without the line end.

    A name that is no UTF-8 carries surrogate escapes, as os.fsdecode makes them: encode the line with them.
    """
    # b3sum knows no escape for a carriage return and takes it as it is.
    mark, shown = _escaped(name, carriage_return=digest.algorithm != "blake3")
    return f"{mark}{digest.value}  {shown}"


def tag_line(digest: Digest, name: str) -> str:
    """Return `SHA256 (name) = hex`, which `sha256sum -c` takes, without the line end; names as in gnu_line."""
    mark, shown = _escaped(name, carriage_return=True)
    tag = _TAGS.get(digest.algorithm, digest.algorithm.upper())
    return f"{mark}{tag} ({shown}) = {digest.value}"


def _escaped(name: str, *, carriage_return: bool) -> tuple[str, str]:
    """Return (mark that begins the line, name as it is written)."""
    special = "\\\n\r" if carriage_return else "\\\n"
    if not any(character in name for character in special):
        return "", name
    shown = name.replace("\\", "\\\\").replace("\n", "\\n")
    return "\\", shown.replace("\r", "\\r") if carriage_return else shown
