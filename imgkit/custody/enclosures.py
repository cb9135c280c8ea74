"""What is too long for a line: lists and texts that the record names by digest and that lie in enclosures/."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit.custody.durable import (
    NEW_FILE,
    mode_like,
    name_new_file,
    own_like,
    sync_folder,
    write_all,
)
from imgkit.custody.record import INTEGER_LIMIT, LINE_LIMIT, LIST_LIMIT, ZEROS, encode_document, new_uuid
from imgkit.errors import CustodyError
from imgkit.linux.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FOLDER = "enclosures"
_PARTS = ("data", "env", "error", "reason", "authority", "place")  # what of a record may be long
_SHORT = 256  # bytes: a reference takes about as much, so nothing is won below
_EXTENSION = re.compile(r"[a-z0-9]{1,16}\Z")
_ASIDE = re.compile(r"\.([0-9a-f]{64}\.[a-z0-9]{1,16})\.[0-9a-f-]{36}\.tmp\Z")
_BLOCK = 1 << 20
_TIME_ROOM = 256  # bytes: the stamp is made later, under the lock


@dataclass(frozen=True, slots=True)
class Aside:
    """An enclosure that is durable and waits for its record.

    Attributes:
        temp: Where it lies.
        path: Where it will.
    """

    temp: str
    path: str

    @property
    def name(self) -> str:
        """What the record calls it."""
        return os.path.basename(self.path)


def fit(record: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return a record that fits a line whatever its number will be, and the enclosures (name -> bytes) it then names.

    Raises:
        CustodyError: It holds a value the format does not have, or is too long in parts that cannot be enclosed.
    """
    enclosures: dict[str, bytes] = {}
    slim = {key: _without_long(part, enclosures) if key in _PARTS else part for key, part in record.items()}
    while _length(slim) > LINE_LIMIT:
        largest = max(_candidates(slim), key=lambda found: found[0], default=None)
        if largest is None:
            raise CustodyError(
                f"a record of {_length(slim)} bytes does not fit a line and has no long list or text"
            )
        _size, holder, key = largest
        holder[key] = _enclose(holder[key], enclosures)
    return slim, enclosures


def put_aside(folder: str, enclosures: Mapping[str, bytes]) -> list[Aside]:
    """Write enclosures (name -> bytes) into a case folder, durable but not yet named: their record comes first.

    A file that no record names would look smuggled in, and a kill may come between the two.

    Raises:
        CustodyError: A file of that name holds other bytes.
        OSError: As the kernel says.
    """
    if not enclosures:
        return []
    place, like, aside = subfolder(folder, FOLDER), os.stat(folder), []
    for name, data in enclosures.items():
        path = os.path.join(place, name)
        if os.path.lexists(path):
            _refuse_other(path)
            continue
        temp = aside_name(place, name)
        with _removed_on_failure(temp):
            write_aside(temp, (data,), like)
        aside.append(Aside(temp, path))
    return aside


def put_aside_file(folder: str, source: int, extension: str) -> tuple[str, int, str, list[Aside]]:
    """As put_aside, for a copy of an open file; return its SHA-256, its bytes, its name, and what was put aside.

    Raises:
        CustodyError: An enclosure of that name holds other bytes.
        OSError: As the kernel says.
    """
    place, like = subfolder(folder, FOLDER), os.stat(folder)
    hasher, size = hashlib.sha256(), 0

    def blocks() -> Iterator[bytes]:
        nonlocal size
        while block := os.pread(source, _BLOCK, size):
            hasher.update(block)
            size += len(block)
            yield block

    first = os.path.join(place, f".{new_uuid()}.tmp")
    with _removed_on_failure(first):
        write_aside(first, blocks(), like)
        name = f"{hasher.hexdigest()}.{checked_extension(extension)}"
        path, temp = os.path.join(place, name), aside_name(place, name)
        if os.path.lexists(path):
            _refuse_other(path)
            os.unlink(first)
            return hasher.hexdigest(), size, name, []
        os.rename(first, temp)
    return hasher.hexdigest(), size, name, [Aside(temp, path)]


def publish(aside: Iterable[Aside]) -> None:
    """Give what was put aside its name, now that a durable record names it.

    Raises:
        OSError: As the kernel says; what is still aside can be published later.
    """
    folders = set()
    for one in aside:
        try:
            name_new_file(one.temp, one.path)
        except FileExistsError:
            os.unlink(one.temp)  # another record was quicker with the same bytes
        except FileNotFoundError:
            if not os.path.lexists(one.path):  # else another run has named it for us
                raise
        folders.add(os.path.dirname(one.path))
    for place in folders:
        sync_folder(place)


def discard(aside: Iterable[Aside]) -> None:
    """Remove what no record will name."""
    for one in aside:
        with contextlib.suppress(OSError):  # the error that made it superfluous is the one to tell
            os.unlink(one.temp)


def left_aside(folder: str) -> list[Aside]:
    """Return what a killed run left unnamed; whether a record names it, the log tells."""
    place = os.path.join(folder, FOLDER)
    try:
        names = os.listdir(place)
    except FileNotFoundError:
        return []
    found = [(name, _ASIDE.match(name)) for name in names]
    return [Aside(os.path.join(place, name), os.path.join(place, match[1])) for name, match in found if match]


def checked_extension(extension: str) -> str:
    """Return an extension that is safe in a name: lower case, letters and digits; `bin` where it is not."""
    plain = extension.lower().lstrip(".")
    return plain if _EXTENSION.match(plain) else "bin"


def _without_long(value: Any, enclosures: dict[str, bytes]) -> Any:
    """A copy of `value` whose lists have at most LIST_LIMIT entries, innermost first."""
    if isinstance(value, dict):
        return {key: _without_long(item, enclosures) for key, item in value.items()}
    if isinstance(value, list):
        slim = [_without_long(item, enclosures) for item in value]
        return _enclose(slim, enclosures) if len(slim) > LIST_LIMIT else slim
    return value


def _enclose(value: list[Any] | str, enclosures: dict[str, bytes]) -> dict[str, Any]:
    if isinstance(value, str):
        data, extension = value.encode(), "txt"
        count = len(data)
    else:
        data, extension = encode_document(value), "json"
        count = len(value)
    digest = hashlib.sha256(data).hexdigest()
    enclosures[f"{digest}.{extension}"] = data
    return {"count": count, "sha256": digest, "enclosure": f"{digest}.{extension}"}


def _candidates(record: dict[str, Any]) -> Iterator[tuple[int, Any, Any]]:
    """Every list and text that could go: its encoded bytes, what holds it, and under which key or index."""
    waiting: list[tuple[Any, Any]] = [(record, key) for key in _PARTS if key in record]
    while waiting:
        holder, key = waiting.pop()
        value = holder[key]
        if isinstance(value, (list, str)):
            size = len(encode_document(value))
            if size > _SHORT:
                yield size, holder, key
        if isinstance(value, dict):
            waiting += [(value, inner) for inner in value]
        elif isinstance(value, list):
            waiting += [
                (value, index) for index in range(len(value)) if isinstance(value[index], (dict, list))
            ]


def _length(record: dict[str, Any]) -> int:
    """Bytes of the line at most: number and hash of the line before are not known yet."""
    return len(encode_document(record | {"seq": INTEGER_LIMIT, "prev": ZEROS})) + _TIME_ROOM


def subfolder(folder: str, name: str) -> str:
    """Return the path of a folder inside a case folder, made where somebody took it away.

    Raises:
        OSError: As the kernel says.
    """
    place = os.path.join(folder, name)
    try:
        os.mkdir(place, 0o700)
    except FileExistsError:
        return place
    like = os.stat(folder)
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        own_like(fd, like)
        os.fchmod(fd, like.st_mode & 0o7777)
    finally:
        os.close(fd)
    sync_folder(folder)
    return place


def aside_name(place: str, name: str) -> str:
    """Return a name that nobody takes for the file itself, and that has not been used."""
    return os.path.join(place, f".{name}.{new_uuid()}.tmp")


def write_aside(path: str, blocks: Iterable[bytes], like: os.stat_result) -> None:
    """Write a new file that nobody will change, durable; owner and group as `like`, the case folder.

    Raises:
        OSError: As the kernel says; a part of it may be there.
    """
    mode = mode_like(like) & 0o440
    fd = os.open(path, NEW_FILE, mode)
    try:
        write_all(fd, blocks)
        own_like(fd, like)
        os.fchmod(fd, mode)
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _removed_on_failure(path: str) -> Iterator[None]:
    try:
        yield
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays behind
        with contextlib.suppress(OSError):  # the first error is the one to tell
            os.unlink(path)
        raise


def _refuse_other(path: str) -> None:
    """Raise unless the file holds the bytes its name says."""
    with open_regular(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != os.path.basename(path).partition(".")[0]:
        raise CustodyError(
            f"enclosure {path!r} does not hold the bytes its name says", code="ENCLOSURE_CHANGED"
        )
