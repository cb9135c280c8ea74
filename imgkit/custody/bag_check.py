"""Checking a bag: every file against its manifests, as `sha256sum -c` does, and that nothing else is in it."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgkit.custody.bag import (
    DECLARATION,
    DECLARED,
    INFO,
    MANIFEST,
    PAYLOAD,
    TAG_MANIFEST,
    decoded,
    digest_of,
)
from imgkit.custody.durable import told
from imgkit.custody.record import printable
from imgkit.errors import CustodyError
from imgkit.linux.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Checked:
    """What a bag is, compared with its manifests.

    Attributes:
        path: Where it is.
        problems: What is not as the manifests say, one sentence each; empty: it is whole.
        files: Names below data/ of the payload, sorted.
        bytes: Of the whole payload.
        manifest: SHA-256 of its manifest.
    """

    path: str
    problems: tuple[str, ...]
    files: tuple[str, ...]
    bytes: int
    manifest: str


def check_bag(path: str, progress: Callable[[int], object] = bool) -> Checked:
    """Compare every file of a bag with its manifests; a link or a special file in it is a problem, and not followed.

    Raises:
        CustodyError: It is no bag, or cannot be read.
    """
    path = os.path.abspath(path)
    with told(f"read the bag {path!r}", given=True):
        _declared(path)
        found, problems = _found(path)
        manifest = _required(path, MANIFEST)
        stated = _stated(manifest, MANIFEST, problems)
        tags = _stated(_required(path, TAG_MANIFEST), TAG_MANIFEST, problems)
        payload = {name for name in found if name.startswith(f"{PAYLOAD}/")}
        problems += _names(payload, stated, MANIFEST)
        problems += [
            f"{name} is missing, and {TAG_MANIFEST} names it" for name in sorted(tags.keys() - found)
        ]
        problems += [f"{TAG_MANIFEST} does not name {name}" for name in (MANIFEST, INFO) if name not in tags]
        size = 0
        for name, digest in sorted({**tags, **stated}.items()):
            if name in found:
                actual, count = digest_of(os.path.join(path, *name.split("/")), progress)
                size += count if name in payload else 0
                if actual != digest:
                    problems.append(f"{name} is not what its manifest says")
    names = tuple(sorted(name.removeprefix(f"{PAYLOAD}/") for name in payload))
    return Checked(path, tuple(map(printable, problems)), names, size, hashlib.sha256(manifest).hexdigest())


def payload_bytes(path: str) -> int:
    """Return how many bytes there are to be read of a bag.

    Raises:
        OSError: As the kernel says.
    """
    return sum(
        os.lstat(os.path.join(folder, name)).st_size
        for folder, _folders, names in os.walk(path)
        for name in names
    )


def _declared(path: str) -> None:
    if not stat.S_ISDIR(os.stat(path).st_mode):  # what is not there is no folder without a declaration
        raise CustodyError(
            f"{path!r} is a file, and a bag is a folder", hint="unpack it, if it is an archive"
        )
    declaration = _required(path, DECLARATION)
    if declaration.replace(b"\r\n", b"\n").strip() != DECLARED.strip():
        raise CustodyError(f"{path!r} is no bag of BagIt 1.0 in UTF-8")


def _required(path: str, name: str) -> bytes:
    try:
        return _tag_file(path, name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CustodyError(f"{path!r} is no bag: it has no {name}") from error


def _tag_file(path: str, name: str) -> bytes:
    place = os.path.join(path, name)
    with open_regular(place) as file:
        return file.read()


def _found(path: str) -> tuple[set[str], list[str]]:
    """Every regular file in the bag by its name there, and what is none."""
    found: set[str] = set()
    problems = []
    for folder, folders, names in os.walk(path, onerror=_raise):
        inner = os.path.relpath(folder, path)
        for name in (*folders, *names):
            place = name if inner == "." else os.path.join(inner, name)
            mode = os.lstat(os.path.join(path, place)).st_mode
            if stat.S_ISREG(mode):
                found.add(place)
            elif not stat.S_ISDIR(mode):
                problems.append(f"{place} is neither a file nor a folder")
    return found, problems


def _raise(error: OSError) -> None:
    raise error


def _stated(manifest: bytes, name: str, problems: list[str]) -> dict[str, str]:
    """The digests that a manifest states, by file."""
    stated: dict[str, str] = {}
    for line in _lines(manifest, name, problems):
        digest, _blank, rest = line.partition(" ")
        file = decoded(rest.lstrip(" \t").removeprefix("*").removeprefix("./"))  # a name may end with a blank
        parts = file.split("/")
        inside = file and not {"", ".", ".."} & set(parts)
        if not inside or (name == MANIFEST) != (parts[0] == PAYLOAD) or file in stated:
            problems.append(f"{name} has a line that it cannot have: {line[:100]!r}")
            continue
        stated[file] = digest.lower()
    return stated


def _lines(manifest: bytes, name: str, problems: list[str]) -> Iterator[str]:
    try:
        text = manifest.decode()
    except UnicodeDecodeError:
        problems.append(f"{name} is not UTF-8")
        return
    yield from (line for line in text.replace("\r\n", "\n").split("\n") if line)


def _names(payload: set[str], stated: Mapping[str, str], manifest: str) -> Iterator[str]:
    for name in sorted(stated.keys() - payload):
        yield f"{name} is missing, and {manifest} names it"
    for name in sorted(payload - stated.keys()):
        yield f"{name} is in the bag, and {manifest} does not name it"
