"""What is too long for a line: lists and texts that the record names by digest and that lie in enclosures/."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import uuid
from typing import TYPE_CHECKING, Any

from imgkit.custody.durable import (
    NEW_FILE,
    create_file,
    mode_like,
    name_new_file,
    own_like,
    read_whole,
    sync_folder,
)
from imgkit.custody.record import INTEGER_LIMIT, LINE_LIMIT, LIST_LIMIT, ZEROS, encode_document
from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "enclosures"
_PARTS = ("data", "env", "error", "reason", "authority", "place")  # what of a record may be long
_SHORT = 256  # bytes: a reference takes about as much, so nothing is won below
_EXTENSION = re.compile(r"[a-z0-9]{1,16}\Z")
_BLOCK = 1 << 20
_TIME_ROOM = 256  # bytes: the stamp is made later, under the lock


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


def keep(folder: str, enclosures: dict[str, bytes]) -> None:
    """Write enclosures into a case folder, durable; what is there with the same bytes stays.

    Raises:
        CustodyError: A file of that name holds other bytes.
        OSError: As the kernel says.
    """
    if not enclosures:
        return
    place = _place(folder)
    like = os.stat(folder)
    for name, data in enclosures.items():
        path = os.path.join(place, name)
        try:
            create_file(path, data, like=like, mode=_mode(like))
        except FileExistsError as error:
            if read_whole(path, limit=len(data)) != data:
                raise _changed(path) from error


def keep_file(folder: str, source: int, extension: str) -> tuple[str, int, str]:
    """Copy an open file into a case folder; return its SHA-256, its bytes and its name there.

    Raises:
        CustodyError: An enclosure of that name holds other bytes.
        OSError: As the kernel says.
    """
    place, like = _place(folder), os.stat(folder)
    temp = os.path.join(place, f".{uuid.uuid4().hex}.tmp")
    try:
        digest, size = _copy(source, temp, like)
        path = os.path.join(place, f"{digest}.{checked_extension(extension)}")
        try:
            name_new_file(temp, path)
        except FileExistsError as error:
            if _digest_of(path) != digest:
                raise _changed(path) from error
            os.unlink(temp)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            os.unlink(temp)
        raise
    sync_folder(place)
    return digest, size, os.path.basename(path)


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


def _place(folder: str) -> str:
    place = os.path.join(folder, FOLDER)
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


def _mode(folder: os.stat_result) -> int:
    return mode_like(folder) & 0o440


def _copy(source: int, temp: str, like: os.stat_result) -> tuple[str, int]:
    digest, offset = hashlib.sha256(), 0
    fd = os.open(temp, NEW_FILE, _mode(like))
    try:
        while block := os.pread(source, _BLOCK, offset):
            digest.update(block)
            offset += len(block)
            view = memoryview(block)
            while view:
                view = view[os.write(fd, view) :]
        own_like(fd, like)
        os.fchmod(fd, _mode(like))
        os.fsync(fd)
    finally:
        os.close(fd)
    return digest.hexdigest(), offset


def _digest_of(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with open(fd, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _changed(path: str) -> CustodyError:
    return CustodyError(f"enclosure {path!r} does not hold the bytes its name says", code="ENCLOSURE_CHANGED")
